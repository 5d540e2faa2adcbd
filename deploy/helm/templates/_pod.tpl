{{/* A setting as the environment spells it: lists with commas, whole numbers without an exponent. */}}
{{- define "pinpoint-exporter.setting" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if kindIs "float64" . -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/*
A probe of the path, unless its values bring a handler of their own. Takes a list: root, values, path. With a web config the
kubelet, which has neither password nor certificate, lets the exporter ask itself.
*/}}
{{- define "pinpoint-exporter.probe" -}}
{{- $root := index . 0 -}}
{{- $probe := index . 1 -}}
{{- if not (or $probe.httpGet $probe.exec $probe.tcpSocket $probe.grpc) -}}
{{- if or (include "pinpoint-exporter.webConfigSecret" $root) (include "pinpoint-exporter.tls" $root) -}}
exec:
  command: [/pinpoint-exporter, healthcheck]
{{ else -}}
httpGet:
  path: {{ index . 2 }}
  port: metrics
{{ end -}}
{{- end -}}
{{ toYaml $probe }}
{{- end -}}

{{- define "pinpoint-exporter.env" -}}
{{- range $name, $value := .Values.settings }}
{{- if not (kindIs "invalid" $value) }}
- name: PINPOINT_EXPORTER_{{ $name }}
  value: {{ include "pinpoint-exporter.setting" $value | quote }}
{{- end }}
{{- end }}
{{- if .Values.shards }}
- name: PINPOINT_EXPORTER_SHARD
  value: auto/{{ .Values.shards }}
{{- end }}
{{- if include "pinpoint-exporter.webConfigSecret" . }}
- name: PINPOINT_EXPORTER_WEB_CONFIG_FILE
  value: /etc/pinpoint-exporter/web/web-config.yaml
{{- end }}
{{- with .Values.aws.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.aws.endpoint }}
- name: AWS_ENDPOINT_URL_PINPOINT
  value: {{ . | quote }}
{{- end }}
{{- with .Values.aws.existingSecret }}
{{- $secret := . }}
{{- range $name := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" "AWS_SESSION_TOKEN" }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ $name }}
      {{- if eq $name "AWS_SESSION_TOKEN" }}
      optional: true
      {{- end }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pinpoint-exporter.volumeMounts" -}}
{{- if include "pinpoint-exporter.webConfigSecret" . }}
- name: web-config
  mountPath: /etc/pinpoint-exporter/web
  readOnly: true
{{- end }}
{{- if .Values.webConfig.certificateSecret }}
- name: tls
  mountPath: /etc/pinpoint-exporter/tls
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pinpoint-exporter.volumes" -}}
{{- with include "pinpoint-exporter.webConfigSecret" . }}
- name: web-config
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.webConfig.certificateSecret }}
- name: tls
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
