{{- define "arcane.networkPolicyTypes" -}}
policyTypes:
  - Ingress
  {{- if .Values.networkPolicy.egress.enabled }}
  - Egress
  {{- end }}
{{- end -}}

{{/* Health is looked at by the kubelet, and by a person through the API server. */}}
{{- define "arcane.ingressOfBoth" -}}
- ports:
    - port: health
      protocol: TCP
- ports:
    - port: metrics
      protocol: TCP
  {{- with .Values.networkPolicy.metricsFrom }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* The API server is found by the environment's KUBERNETES_SERVICE_HOST, an address: no DNS. */}}
{{- define "arcane.egress" -}}
{{- if .Values.networkPolicy.egress.enabled -}}
egress:
  - ports:
      {{- range .Values.networkPolicy.egress.apiServerPorts }}
      - port: {{ . }}
        protocol: TCP
      {{- end }}
    {{- with .Values.networkPolicy.egress.apiServer }}
    to:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end -}}
{{- end -}}
