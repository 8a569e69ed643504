{{/* What is wrong with the values: each check a sentence, all that don't hold are told at once. What is wrong with one value is
the schema's to say, except where a schema can't say what to do. */}}
{{- define "arcane.checks" -}}
{{- $checks := list
  "arcane.checks.oneControllerWithoutAnElection"
  "arcane.checks.namespacesHaveNames"
  "arcane.checks.thePortsOfTheControllerDiffer"
  "arcane.checks.thePortsOfTheWebhookDiffer"
  "arcane.checks.someoneAnswersWhereAnAnswerIsNeeded"
  "arcane.checks.theSecretIsNamedWhereItIsUsed"
-}}
{{- $wrong := list -}}
{{- range $check := $checks -}}
{{- $wrong = concat $wrong (include $check $ | trim | splitList "\n" | compact) -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "these values don't fit:\n* %s" (join "\n* " $wrong)) -}}
{{- end -}}
{{- end -}}

{{- define "arcane.checks.oneControllerWithoutAnElection" -}}
{{- if and (gt (int .Values.replicaCount) 1) (not .Values.leaderElection.enabled) -}}
replicaCount: more than one controller needs leaderElection.enabled, or two of them would start Jobs of one stream
{{- end -}}
{{- end -}}

{{- define "arcane.checks.namespacesHaveNames" -}}
{{- $namespaces := .Values.watchNamespaces -}}
{{- if and $namespaces (not (kindIs "slice" $namespaces)) -}}
watchNamespaces: {{ toJson $namespaces }} is no list; write [team-a, team-b], or --set 'watchNamespaces={team-a,team-b}'
{{- else -}}
{{- range $index, $namespace := $namespaces }}
{{- if not (kindIs "string" $namespace) }}
watchNamespaces[{{ $index }}]: {{ toJson $namespace }} is no text; write the name of a namespace, in quotes if it looks like a number
{{- else if not (and (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" $namespace) (le (len $namespace) 63)) }}
watchNamespaces[{{ $index }}]: {{ toJson $namespace }} is no name of a namespace (lower case letters, digits and dashes, at most 63); give each by its name, there are no patterns
{{- else if has $namespace (slice $namespaces 0 $index) }}
watchNamespaces[{{ $index }}]: {{ toJson $namespace }} is there twice; take one out
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "arcane.checks.thePortsOfTheControllerDiffer" -}}
{{- $probes := .Values.settings.probes -}}
{{- $telemetry := .Values.settings.telemetry -}}
{{- include "arcane.checks.portsDiffer" (list
  (list "settings.probes.listenAddrOverride" $probes.listenAddrOverride "settings.probes.port" $probes.port)
  (list "settings.telemetry.metricsBindAddressOverride" $telemetry.metricsBindAddressOverride "settings.telemetry.metricsPort" $telemetry.metricsPort)
) -}}
{{- end -}}

{{- define "arcane.checks.thePortsOfTheWebhookDiffer" -}}
{{- if .Values.webhook.enabled -}}
{{- $listen := list "webhook.listenAddrOverride" .Values.webhook.listenAddrOverride "webhook.port" .Values.webhook.port -}}
{{- $probes := .Values.settings.probes -}}
{{- $telemetry := .Values.settings.telemetry }}
{{ include "arcane.checks.portsDiffer" (list $listen
  (list "settings.probes.listenAddrOverride" $probes.listenAddrOverride "settings.probes.port" $probes.port)) }}
{{ include "arcane.checks.portsDiffer" (list $listen
  (list "settings.telemetry.metricsBindAddressOverride" $telemetry.metricsBindAddressOverride "settings.telemetry.metricsPort" $telemetry.metricsPort)) }}
{{- end -}}
{{- end -}}

{{/* Two ports of one process: (list (list PATH-OF-OVERRIDE OVERRIDE PATH-OF-PORT PORT) (list ...)) */}}
{{- define "arcane.checks.portsDiffer" -}}
{{- $paths := list -}}
{{- $ports := list -}}
{{- range . -}}
{{- $saysAPort := regexMatch ":[0-9]+$" (toString (default "" (index . 1))) -}}
{{- $paths = append $paths (ternary (index . 0) (index . 2) $saysAPort) -}}
{{- $ports = append $ports (include "arcane.port" (list (index . 1) (index . 3))) -}}
{{- end -}}
{{- if eq (first $ports) (last $ports) -}}
{{ last $paths }}: port {{ last $ports }} is that of {{ first $paths }}, and one process listens on both; give them different ports
{{- end -}}
{{- end -}}

{{- define "arcane.checks.someoneAnswersWhereAnAnswerIsNeeded" -}}
{{- if and .Values.webhook.enabled (eq (int .Values.webhook.replicas) 0) (eq .Values.webhook.failurePolicy "Fail") -}}
webhook.replicas: with 0 nobody answers, and with webhook.failurePolicy Fail no stream could be created or changed; set webhook.replicas to 1 or more, or webhook.failurePolicy to Ignore, or webhook.enabled to false
{{- end -}}
{{- end -}}

{{- define "arcane.checks.theSecretIsNamedWhereItIsUsed" -}}
{{- $name := default "" .Values.certificates.existingSecret -}}
{{- $mode := .Values.certificates.mode -}}
{{- if .Values.webhook.enabled -}}
{{- if and (eq $mode "existingSecret") (not $name) -}}
certificates.existingSecret: certificates.mode existingSecret needs the name of a Secret in namespace {{ .Release.Namespace }} with tls.crt, tls.key and ca.crt; set it, or set certificates.mode to self, and the webhook makes its own certificate
{{- else if and $name (ne $mode "existingSecret") -}}
certificates.existingSecret: {{ toJson $name }} is not used with certificates.mode {{ $mode }}; set certificates.mode to existingSecret, or leave this empty
{{- else if and $name (not (regexMatch "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$" $name)) -}}
certificates.existingSecret: {{ toJson $name }} is no name of a Secret (lower case letters, digits, dashes and dots); give its name alone, it is looked for in namespace {{ .Release.Namespace }}
{{- end -}}
{{- end -}}
{{- end -}}
