{{/* Refuses values that contradict each other, which values.schema.json cannot compare. It runs before any object is rendered. */}}
{{- define "pinpoint-exporter.check" -}}
{{- $fullname := include "pinpoint-exporter.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) -}}
{{- fail (printf "the objects would be named %q, which cannot be the name of a Service: it must start with a letter and contain only a-z, 0-9 and -. Set fullnameOverride" $fullname) -}}
{{- end -}}

{{- /* Variables of the environment. */ -}}
{{- $given := dict -}}
{{- /* False if a duration comes from a Secret or ConfigMap, because it cannot be compared then. */ -}}
{{- $known := true -}}
{{- range .Values.extraEnv -}}
{{- if and .valueFrom (regexMatch "^PINPOINT_EXPORTER_.*(TTL|STALENESS|TIMEOUT|OFFSET)$" .name) -}}
{{- $known = false -}}
{{- end -}}
{{- if hasKey $given .name -}}
{{- fail (printf "extraEnv has %s twice: remove one of them" .name) -}}
{{- end -}}
{{- $_ := set $given .name (.value | default "") -}}
{{- end -}}
{{- $settings := dict -}}
{{- range $name, $value := .Values.settings -}}
{{- $_ := set $settings $name (include "pinpoint-exporter.setting" $value) -}}
{{- end -}}
{{- range $name, $value := $given -}}
{{- $_ := set $settings (trimPrefix "PINPOINT_EXPORTER_" $name) $value -}}
{{- end -}}
{{- $targets := or (include "pinpoint-exporter.targets" .) (include "pinpoint-exporter.targetsConfigMap" .) $settings.TARGETS_FILE .Values.extraEnvFrom -}}
{{- if not (or $targets (hasKey $given "PINPOINT_EXPORTER_TARGETS") (hasKey $given "PINPOINT_EXPORTER_TARGETS_FILE")) -}}
{{- fail "nothing is observed: set settings.TARGETS or targetsFile, or name targets in extraEnv or extraEnvFrom" -}}
{{- end -}}
{{- if and (include "pinpoint-exporter.targetsConfigMap" .) $settings.TARGETS_FILE -}}
{{- fail "targetsFile and TARGETS_FILE exclude each other: remove one of them" -}}
{{- end -}}
{{- if and $settings.ROLE_EXTERNAL_ID (not $settings.ROLE_ARNS) (not (hasKey $given "PINPOINT_EXPORTER_ROLE_ARNS")) (not .Values.extraEnvFrom) -}}
{{- fail "settings.ROLE_EXTERNAL_ID needs settings.ROLE_ARNS" -}}
{{- end -}}
{{- with $settings.SHARD -}}
{{- $parts := splitList "/" . -}}
{{- if and (regexMatch "^[0-9]+/[0-9]+$" .) (ge (int64 (first $parts)) (int64 (last $parts))) -}}
{{- fail (printf "settings.SHARD: %s is not a valid shard, because shards are numbered from 0: use a number below %s" . (last $parts)) -}}
{{- end -}}
{{- end -}}

{{- $cacheTtl := include "pinpoint-exporter.milliseconds" ($settings.CACHE_TTL | default "50s") | int64 -}}
{{- if $known -}}
{{- if lt (include "pinpoint-exporter.milliseconds" ($settings.MAX_STALENESS | default "10m") | int64) $cacheTtl -}}
{{- fail (printf "settings.MAX_STALENESS (%s) must be at least settings.CACHE_TTL (%s)" ($settings.MAX_STALENESS | default "10m") ($settings.CACHE_TTL | default "50s")) -}}
{{- end -}}
{{- if ge (include "pinpoint-exporter.milliseconds" ($settings.SCRAPE_TIMEOUT_OFFSET | default "500ms") | int64) (include "pinpoint-exporter.milliseconds" ($settings.SCRAPE_TIMEOUT | default "10s") | int64) -}}
{{- fail (printf "settings.SCRAPE_TIMEOUT_OFFSET (%s) must be shorter than settings.SCRAPE_TIMEOUT (%s)" ($settings.SCRAPE_TIMEOUT_OFFSET | default "500ms") ($settings.SCRAPE_TIMEOUT | default "10s")) -}}
{{- end -}}
{{- range $name := list "REQUEST_TIMEOUT" "REFRESH_TIMEOUT" -}}
{{- with get $settings $name -}}
{{- if not (include "pinpoint-exporter.milliseconds" . | int64) -}}
{{- fail (printf "settings.%s (%s) must be longer than 0s, or every request fails" $name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- end -}}

{{- /* The scrape. */ -}}
{{- with .Values.serviceMonitor -}}
{{- if and .enabled $.Values.podMonitor.enabled -}}
{{- fail "serviceMonitor.enabled and podMonitor.enabled would scrape every Pod twice: disable one of them" -}}
{{- end -}}
{{- if or .enabled $.Values.podMonitor.enabled -}}
{{- $interval := include "pinpoint-exporter.milliseconds" .interval | int64 -}}
{{- if gt (include "pinpoint-exporter.milliseconds" .scrapeTimeout | int64) $interval -}}
{{- fail (printf "serviceMonitor.scrapeTimeout (%s) must not be longer than serviceMonitor.interval (%s)" .scrapeTimeout .interval) -}}
{{- end -}}
{{- if and $known (le $interval $cacheTtl) -}}
{{- fail (printf "serviceMonitor.interval (%s) must be longer than settings.CACHE_TTL (%s), or every other scrape shows old data. Change one of them" .interval ($settings.CACHE_TTL | default "50s")) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The Pod. */ -}}
{{- range $resource, $request := .Values.resources.requests -}}
{{- $limit := dig "limits" $resource "" $.Values.resources -}}
{{- if and (ne (toString $limit) "") (gt (include "pinpoint-exporter.quantity" $request | float64) (include "pinpoint-exporter.quantity" $limit | float64)) -}}
{{- fail (printf "resources.requests.%s (%v) must not be above resources.limits.%s (%v)" $resource $request $resource $limit) -}}
{{- end -}}
{{- end -}}
{{- $containers := dict "pinpoint-exporter" true -}}
{{- range concat .Values.initContainers .Values.sidecars -}}
{{- if hasKey $containers .name -}}
{{- fail (printf "two containers are named %s: rename one of those in initContainers and sidecars" .name) -}}
{{- end -}}
{{- $_ := set $containers .name true -}}
{{- end -}}
{{- $volumes := dict -}}
{{- range include "pinpoint-exporter.volumes" . | fromYamlArray -}}
{{- if hasKey $volumes .name -}}
{{- fail (printf "two volumes are named %s: rename the one in extraVolumes" .name) -}}
{{- end -}}
{{- $_ := set $volumes .name true -}}
{{- end -}}
{{- $paths := dict -}}
{{- range include "pinpoint-exporter.volumeMounts" . | fromYamlArray -}}
{{- if not (hasKey $volumes .name) -}}
{{- fail (printf "extraVolumeMounts mounts the volume %s, which extraVolumes does not have" .name) -}}
{{- end -}}
{{- if hasKey $paths .mountPath -}}
{{- fail (printf "two volumes are mounted at %s: change one mountPath in extraVolumeMounts" .mountPath) -}}
{{- end -}}
{{- $_ := set $paths .mountPath true -}}
{{- end -}}
{{- with .Values.strategy.rollingUpdate -}}
{{- if and (hasKey . "maxUnavailable") (regexMatch "^0%?$" (toString .maxUnavailable)) (regexMatch "^0%?$" (toString .maxSurge)) -}}
{{- fail "strategy.rollingUpdate: maxSurge and maxUnavailable cannot both be 0" -}}
{{- end -}}
{{- end -}}

{{- /* The alerts. */ -}}
{{- if .Values.prometheusRule.enabled -}}
{{- $alerts := list -}}
{{- range (include "pinpoint-exporter.rules" . | fromYaml).groups -}}
{{- range .rules -}}
{{- $alerts = append $alerts .alert -}}
{{- end -}}
{{- end -}}
{{- range $alert, $_ := .Values.prometheusRule.disabled -}}
{{- if not (has $alert $alerts) -}}
{{- fail (printf "prometheusRule.disabled: there is no alert %s; there are %s" $alert (compact $alerts | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- $groups := dict "pinpoint-settings" true -}}
{{- range concat (include "pinpoint-exporter.rules" . | fromYaml).groups .Values.prometheusRule.additionalGroups -}}
{{- if hasKey $groups .name -}}
{{- fail (printf "prometheusRule.additionalGroups: there is a group %s already; choose another name" .name) -}}
{{- end -}}
{{- $_ := set $groups .name true -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A duration of Prometheus or of the exporter in milliseconds, such as 60000 for 1m. */}}
{{- define "pinpoint-exporter.milliseconds" -}}
{{- $units := dict "y" 31557600000 "w" 604800000 "d" 86400000 "h" 3600000 "m" 60000 "s" 1000 "ms" 1 -}}
{{- $longForms := dict "msec" "ms" "millis" "ms" "sec" "s" "secs" "s" "second" "s" "seconds" "s" "min" "m" "mins" "m" "minute" "m" "minutes" "m" "hr" "h" "hrs" "h" "hour" "h" "hours" "h" "day" "d" "days" "d" "wk" "w" "wks" "w" "week" "w" "weeks" "w" "yr" "y" "yrs" "y" "year" "y" "years" "y" -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+ *[a-z]+" . -1 -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $unit = get $longForms $unit | default $unit -}}
{{- $sum = add $sum (mul (regexFind "[0-9]+" . | int64) (get $units $unit | default 0)) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* A quantity of Kubernetes as a number, such as 0.25 for 250m. */}}
{{- define "pinpoint-exporter.quantity" -}}
{{- $suffixes := dict "n" 1e-9 "u" 1e-6 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 -}}
{{- if kindIs "string" . -}}
{{- $suffix := regexFind "[A-Za-z]+$" . -}}
{{- mulf (trimSuffix $suffix . | float64) (get $suffixes $suffix | default 1) -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}
