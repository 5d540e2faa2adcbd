{{/* A setting as the value of an environment variable: lists are joined with commas, and whole numbers have no exponent. */}}
{{- define "pinpoint-exporter.setting" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if kindIs "float64" . -}}
{{- int64 . -}}
{{- else if not (kindIs "invalid" .) -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* settings.TARGETS, unless it is the example of values.yaml and another value sets the targets. */}}
{{- define "pinpoint-exporter.targets" -}}
{{- $targets := include "pinpoint-exporter.setting" .Values.settings.TARGETS -}}
{{- $elsewhere := or .Values.settings.TARGETS_FILE (include "pinpoint-exporter.targetsConfigMap" .) -}}
{{- range .Values.extraEnv -}}
{{- if has .name (list "PINPOINT_EXPORTER_TARGETS" "PINPOINT_EXPORTER_TARGETS_FILE") -}}
{{- $elsewhere = true -}}
{{- end -}}
{{- end -}}
{{- if not (and $elsewhere (contains ":123456789012:apps/6e0b7591a90841d2b5d93fa11143e5a7/segments/b66c9e42f71444b2aa2e0ffc1df28f60" $targets)) -}}
{{- $targets -}}
{{- end -}}
{{- end -}}

{{/*
A probe. Takes a list: root, values of the probe, path. A handler in the values replaces the one of the chart. The kubelet has
neither password nor certificate, so with a web configuration the probe runs `healthcheck` in the container.
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

{{/* The strategy of an update. Helm must own rollingUpdate to be able to remove it when the type changes. */}}
{{- define "pinpoint-exporter.strategy" -}}
{{- $rolling := gt (int .Values.shards) 0 | ternary (dict "partition" 0) (dict "maxSurge" "25%" "maxUnavailable" "25%") -}}
{{- $type := .Values.strategy.type | default "RollingUpdate" -}}
type: {{ $type }}
{{- if eq $type "RollingUpdate" }}
rollingUpdate:
  {{- toYaml (mergeOverwrite $rolling (.Values.strategy.rollingUpdate | default dict)) | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The environment variables, as a list. Takes a list: root, and whether they are for the server. */}}
{{- define "pinpoint-exporter.env" -}}
{{- $root := index . 0 -}}
{{- $server := index . 1 -}}
{{- $taken := list -}}
{{- range $root.Values.extraEnv }}
{{- $taken = append $taken .name }}
{{- end }}
{{- with $root }}
{{- $own := list }}
{{- range $name, $value := omit .Values.settings "TARGETS" }}
{{- if not (kindIs "invalid" $value) }}
{{- if and (eq $name "NAMES") (kindIs "bool" $value) }}
{{- /* YAML reads `off` without quotes as false. */}}
{{- $value = "off" }}
{{- end }}
{{- $own = append $own (dict "name" (printf "PINPOINT_EXPORTER_%s" $name) "value" (include "pinpoint-exporter.setting" $value)) }}
{{- end }}
{{- end }}
{{- with include "pinpoint-exporter.targets" . }}
{{- $own = append $own (dict "name" "PINPOINT_EXPORTER_TARGETS" "value" .) }}
{{- end }}
{{- if include "pinpoint-exporter.targetsConfigMap" . }}
{{- $own = append $own (dict "name" "PINPOINT_EXPORTER_TARGETS_FILE" "value" "/etc/pinpoint-exporter/targets/targets") }}
{{- end }}
{{- if and .Values.shards $server }}
{{- $own = append $own (dict "name" "PINPOINT_EXPORTER_SHARD" "value" (printf "auto/%d" (int .Values.shards))) }}
{{- end }}
{{- if include "pinpoint-exporter.webConfigSecret" . }}
{{- $own = append $own (dict "name" "PINPOINT_EXPORTER_WEB_CONFIG_FILE" "value" "/etc/pinpoint-exporter/web/web-config.yaml") }}
{{- end }}
{{- with .Values.aws.region }}
{{- $own = append $own (dict "name" "AWS_REGION" "value" .) }}
{{- end }}
{{- with .Values.aws.endpoint }}
{{- $own = append $own (dict "name" "AWS_ENDPOINT_URL_PINPOINT" "value" .) }}
{{- end }}
{{- with .Values.aws.existingSecret }}
{{- range $name := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
{{- $own = append $own (dict "name" $name "valueFrom" (dict "secretKeyRef" (dict "name" $root.Values.aws.existingSecret "key" $name))) }}
{{- end }}
{{- $own = append $own (dict "name" "AWS_SESSION_TOKEN" "valueFrom" (dict "secretKeyRef" (dict "name" . "key" "AWS_SESSION_TOKEN" "optional" true))) }}
{{- end }}
{{- $env := list }}
{{- range $own }}
{{- if and (not (has .name $taken)) (not (and (hasKey . "value") (empty .value))) }}
{{- $env = append $env . }}
{{- end }}
{{- end }}
{{- with concat $env .Values.extraEnv }}
{{- toYaml . }}
{{- end }}
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
{{- if include "pinpoint-exporter.targetsConfigMap" . }}
- name: targets
  mountPath: /etc/pinpoint-exporter/targets
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
    secretName: {{ . | quote }}
{{- end }}
{{- with .Values.webConfig.certificateSecret }}
- name: tls
  secret:
    secretName: {{ . | quote }}
{{- end }}
{{- with include "pinpoint-exporter.targetsConfigMap" . }}
- name: targets
  configMap:
    name: {{ . | quote }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The fields of a Pod's spec that the workload and the Pod of `helm test` have in common. */}}
{{- define "pinpoint-exporter.podSpec" -}}
serviceAccountName: {{ include "pinpoint-exporter.serviceAccountName" . | quote }}
automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
# Service links would add variables about the Service that look like settings of the exporter.
enableServiceLinks: false
{{- with concat .Values.global.imagePullSecrets .Values.imagePullSecrets | uniq }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "pinpoint-exporter.volumes" . | trim }}
volumes:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The fields of the container that the workload and the Pod of `helm test` have in common. Takes what `env` takes. */}}
{{- define "pinpoint-exporter.container" -}}
{{- $env := include "pinpoint-exporter.env" . }}
{{- with index . 0 -}}
image: {{ include "pinpoint-exporter.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $env }}
env:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "pinpoint-exporter.volumeMounts" . | trim }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
