{{/* How the metrics of a pod are taken: (list . .Values.monitoring.podMonitor). They are OpenMetrics, which Prometheus asks for. */}}
{{- define "arcane.endpoint" -}}
{{- $root := index . 0 -}}
{{- $monitor := index . 1 -}}
- port: metrics
  path: /metrics
  interval: {{ $monitor.interval }}
  scrapeTimeout: {{ $monitor.scrapeTimeout }}
  {{- with $root.Values.settings.telemetry.clusterName }}
  relabelings:
    - targetLabel: cluster
      replacement: {{ . | quote }}
  {{- end }}
{{- end -}}

{{/* Chooses both processes of this release. */}}
{{- define "arcane.bothSelected" -}}
matchExpressions:
  - key: app.kubernetes.io/name
    operator: In
    values:
      - {{ include "arcane.name" . }}
      - {{ include "arcane.name" . }}-webhook
  - key: app.kubernetes.io/instance
    operator: In
    values: [{{ .Release.Name }}]
{{- end -}}
