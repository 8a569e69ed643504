{{/* The rules of a file, with the names of this release: (list . "files/controller-rules.yaml"). The files are what the
tests run the processes with; nothing is granted that isn't in them. */}}
{{- define "arcane.rules" -}}
{{- $root := index . 0 -}}
{{- $text := $root.Files.Get (index . 1) -}}
{{- toYaml (fromYamlArray (replace "arcane-operator" (include "arcane.fullname" $root) $text)) -}}
{{- end -}}

{{/* Of these rules those about namespaced kinds, or with false the others: (list (fromYamlArray ...) true) */}}
{{- define "arcane.rules.namespaced" -}}
{{- $wanted := index . 1 -}}
{{- $namespaced := list "*" "*/status" "*/finalizers" "backfillrequests" "jobs" "cronjobs" "pods" "events" -}}
{{- $chosen := list -}}
{{- range $rule := index . 0 -}}
{{- if eq $wanted (has (first $rule.resources) $namespaced) -}}
{{- $chosen = append $chosen $rule -}}
{{- end -}}
{{- end -}}
{{- toYaml $chosen -}}
{{- end -}}

{{/* A binding's roleRef and subject: (dict "kind" "Role" "role" NAME "account" NAME "namespace" NAME) */}}
{{- define "arcane.bound" -}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .role }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .namespace }}
{{- end -}}
