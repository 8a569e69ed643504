{{/* The name of the chart in labels, and of the controller's pods: app.kubernetes.io/name. */}}
{{- define "arcane.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the controller and of all that belongs to it. It doesn't depend on the release's name: there is one
operator in a cluster, and `deploy/arcane-operator` is where people look for it. */}}
{{- define "arcane.fullname" -}}
{{- default (include "arcane.name" .) .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the webhook and of all that belongs to it, its registration among them. */}}
{{- define "arcane.webhook.fullname" -}}
{{- printf "%s-webhook" (include "arcane.fullname" .) -}}
{{- end -}}

{{- define "arcane.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "arcane.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "arcane.webhook.serviceAccountName" -}}
{{- if .Values.webhook.serviceAccount.create -}}
{{- default (include "arcane.webhook.fullname" .) .Values.webhook.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.webhook.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The Secret in which somebody else's certificate is. */}}
{{- define "arcane.webhook.certificateSecret" -}}
{{- if eq .Values.certificates.mode "existingSecret" -}}
{{- .Values.certificates.existingSecret -}}
{{- else -}}
{{- printf "%s-tls" (include "arcane.webhook.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* An image: (list . .Values.image) */}}
{{- define "arcane.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (toString (default $root.Chart.AppVersion $image.tag)) -}}
{{- end -}}
{{- end -}}

{{/* What never changes: a Deployment's selector can't. */}}
{{- define "arcane.selector" -}}
app.kubernetes.io/name: {{ include "arcane.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Apart from the controller's, so that neither selects the other's pods. */}}
{{- define "arcane.webhook.selector" -}}
app.kubernetes.io/name: {{ include "arcane.name" . }}-webhook
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "arcane.commonLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: arcane
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.additionalLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "arcane.labels" -}}
{{ include "arcane.selector" . }}
app.kubernetes.io/component: controller
{{ include "arcane.commonLabels" . }}
{{- end -}}

{{- define "arcane.webhook.labels" -}}
{{ include "arcane.webhook.selector" . }}
app.kubernetes.io/component: webhook
{{ include "arcane.commonLabels" . }}
{{- end -}}

{{/* The line `annotations:` and what comes below it, if there are any, so far to the right:
(list . .Values.serviceAccount.annotations 2) */}}
{{- define "arcane.annotations" -}}
{{- $root := index . 0 -}}
{{- $all := merge (dict) (default (dict) (index . 1)) (default (dict) $root.Values.additionalAnnotations) -}}
{{- if $all -}}
{{- printf "annotations:\n%s" (toYaml $all | indent 2) | nindent (index . 2) -}}
{{- end -}}
{{- end -}}
