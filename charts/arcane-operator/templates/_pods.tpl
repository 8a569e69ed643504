{{/* An address to listen on: (list OVERRIDE PORT). ":8888" is what older values files may say for any address. */}}
{{- define "arcane.address" -}}
{{- $override := toString (default "" (index . 0)) -}}
{{- if not $override -}}
0.0.0.0:{{ index . 1 }}
{{- else if hasPrefix ":" $override -}}
0.0.0.0{{ $override }}
{{- else if regexMatch ":[0-9]+$" $override -}}
{{ $override }}
{{- else -}}
{{ $override }}:{{ index . 1 }}
{{- end -}}
{{- end -}}

{{/* The port of it: (list OVERRIDE PORT) */}}
{{- define "arcane.port" -}}
{{- include "arcane.address" . | splitList ":" | last -}}
{{- end -}}

{{- define "arcane.healthPort" -}}
{{- include "arcane.port" (list .Values.settings.probes.listenAddrOverride .Values.settings.probes.port) -}}
{{- end -}}

{{- define "arcane.metricsPort" -}}
{{- include "arcane.port" (list .Values.settings.telemetry.metricsBindAddressOverride .Values.settings.telemetry.metricsPort) -}}
{{- end -}}

{{/* The flags about logs, health and metrics, which both processes have. */}}
{{- define "arcane.commonFlags" -}}
- --health-addr={{ include "arcane.address" (list .Values.settings.probes.listenAddrOverride .Values.settings.probes.port) }}
- --metrics-addr={{ include "arcane.address" (list .Values.settings.telemetry.metricsBindAddressOverride .Values.settings.telemetry.metricsPort) }}
- --log-format={{ .Values.settings.telemetry.logFormat }}
{{- with .Values.settings.telemetry.logLevel }}
{{- $level := lower . | replace "warning" "warn" }}
- --log={{ if has $level (list "error" "warn") }}{{ $level }}{{ else if has $level (list "info" "debug" "trace") }}{{ $level }},kube=warn{{ else }}{{ . }}{{ end }}
{{- end }}
{{- end -}}

{{/* The three probes. Times of one probe count before those of all. */}}
{{- define "arcane.probes" -}}
{{- $probes := .Values.settings.probes -}}
{{- $all := pick $probes "initialDelaySeconds" "periodSeconds" "timeoutSeconds" "failureThreshold" -}}
startupProbe:
  httpGet: {path: /startup, port: health}
  {{- toYaml (merge (dict) (default (dict) $probes.startup) $all) | nindent 2 }}
livenessProbe:
  httpGet: {path: /healthz, port: health}
  {{- toYaml (merge (dict) (default (dict) $probes.liveness) $all) | nindent 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: health}
  {{- toYaml (merge (dict) (default (dict) $probes.readiness) $all) | nindent 2 }}
{{- end -}}

{{/* What a person may add to a container: (list . .Values) or (list . .Values.webhook) */}}
{{- define "arcane.containerExtras" -}}
{{- $of := index . 1 -}}
{{- with $of.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $of.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $of.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What a person may say about a pod: (list . .Values) or (list . .Values.webhook) */}}
{{- define "arcane.podExtras" -}}
{{- $root := index . 0 -}}
{{- $of := index . 1 -}}
automountServiceAccountToken: true
enableServiceLinks: false
{{- with default $root.Values.imagePullSecrets $of.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml $of.podSecurityContext | nindent 2 }}
{{- with $of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $of.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $of.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
