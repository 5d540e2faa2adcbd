{{/* Names are cut at 52 characters: a StatefulSet's Pods append theirs to a label of 63. */}}
{{- define "pinpoint-exporter.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "pinpoint-exporter.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $fullname := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $fullname | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "pinpoint-exporter.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{- define "pinpoint-exporter.serviceAccountName" -}}
{{- $created := .Values.serviceAccount.create | ternary (include "pinpoint-exporter.fullname" .) "default" -}}
{{- .Values.serviceAccount.name | default $created -}}
{{- end -}}

{{- define "pinpoint-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pinpoint-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "pinpoint-exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "pinpoint-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pinpoint-exporter.image" -}}
{{- $registry := .Values.global.imageRegistry | default .Values.image.registry -}}
{{- $tag := printf ":%s" (.Values.image.tag | default .Chart.AppVersion) -}}
{{- $version := .Values.image.digest | empty | ternary $tag (printf "@%s" .Values.image.digest) -}}
{{- with $registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}{{ $version }}
{{- end -}}

{{/* The Secret of the web config, or nothing. */}}
{{- define "pinpoint-exporter.webConfigSecret" -}}
{{- with .Values.webConfig -}}
{{- .content | empty | ternary .existingSecret (printf "%s-web-config" (include "pinpoint-exporter.fullname" $)) -}}
{{- end -}}
{{- end -}}

{{/* "true" if the port speaks TLS, or nothing. */}}
{{- define "pinpoint-exporter.tls" -}}
{{- if or .Values.webConfig.tls (hasKey .Values.webConfig.content "tls_server_config") -}}
true
{{- end -}}
{{- end -}}

{{- define "pinpoint-exporter.missing" -}}
the chart lacks {{ . }}, which is a symbolic link to a file of its repository: use a whole checkout, or the package that `helm package` made
{{- end -}}
