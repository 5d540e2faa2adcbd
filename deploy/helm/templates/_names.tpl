{{/* Names have at most 52 characters: a StatefulSet appends a suffix to its name in a label of at most 63. */}}
{{- define "pinpoint-exporter.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $fullname := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- regexReplaceAll "[-.]+$" (.Values.fullnameOverride | default $fullname | trunc 52) "" -}}
{{- end -}}

{{- define "pinpoint-exporter.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{- define "pinpoint-exporter.serviceAccountName" -}}
{{- $created := .Values.serviceAccount.create | ternary (include "pinpoint-exporter.fullname" .) "default" -}}
{{- .Values.serviceAccount.name | default $created -}}
{{- end -}}

{{/* No value may change these labels, because the selector of a workload is immutable. */}}
{{- define "pinpoint-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The labels of an object. Takes a list: root, and further labels of this object. */}}
{{- define "pinpoint-exporter.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{ include "pinpoint-exporter.selectorLabels" $root }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service | quote }}
{{- with mergeOverwrite (deepCopy $root.Values.commonLabels) (index . 1) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pinpoint-exporter.image" -}}
{{- $registry := .Values.global.imageRegistry | default .Values.image.registry -}}
{{- $tag := printf ":%s" (.Values.image.tag | default .Chart.AppVersion) -}}
{{- $version := .Values.image.digest | empty | ternary $tag (printf "@%s" .Values.image.digest) -}}
{{- with $registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}{{ $version }}
{{- end -}}

{{/* The Secret of the web configuration, or nothing. */}}
{{- define "pinpoint-exporter.webConfigSecret" -}}
{{- with .Values.webConfig -}}
{{- .content | empty | ternary .existingSecret (printf "%s-web-config" (include "pinpoint-exporter.fullname" $)) -}}
{{- end -}}
{{- end -}}

{{/* The ConfigMap of the targets, or nothing. */}}
{{- define "pinpoint-exporter.targetsConfigMap" -}}
{{- with .Values.targetsFile -}}
{{- .content | empty | ternary .existingConfigMap (printf "%s-targets" (include "pinpoint-exporter.fullname" $)) -}}
{{- end -}}
{{- end -}}

{{/* "true" if the port uses TLS, or nothing. */}}
{{- define "pinpoint-exporter.tls" -}}
{{- if or .Values.webConfig.tls (hasKey .Values.webConfig.content "tls_server_config") -}}
true
{{- end -}}
{{- end -}}

{{- define "pinpoint-exporter.missing" -}}
the chart lacks {{ . }}: use a whole copy of deploy/helm, or the package of a release
{{- end -}}
