{{/* The sidecar of a pod, as annotations: (dict "root" $ "pod" $pod). The only place that names them. */}}
{{- define "oncetune.daprAnnotations" -}}
{{- $dapr := .root.Values.dapr -}}
dapr.io/enabled: "true"
dapr.io/app-id: oncetune-{{ join "-" .pod.services }}
dapr.io/app-port: "8080"
dapr.io/app-protocol: http
dapr.io/config: {{ include "oncetune.fullname" .root }}
dapr.io/enable-native-sidecar: {{ $dapr.nativeSidecar | quote }}
dapr.io/api-token-secret: {{ $dapr.apiTokenSecret | quote }}
dapr.io/app-token-secret: {{ $dapr.appTokenSecret | quote }}
{{- /* As in oncetune/local/sidecar.py, and for its reason: stop delivering before the retries end. */}}
dapr.io/enable-app-health-check: "true"
dapr.io/app-health-check-path: /live
dapr.io/app-health-probe-interval: "5"
dapr.io/app-health-probe-timeout: "1500"
dapr.io/app-health-threshold: "3"
dapr.io/graceful-shutdown-seconds: {{ $dapr.gracefulShutdownSeconds | quote }}
dapr.io/block-shutdown-duration: {{ $dapr.blockShutdownDuration }}
dapr.io/log-as-json: "true"
dapr.io/log-level: {{ $dapr.logLevel }}
dapr.io/disable-builtin-k8s-secret-store: "true"
dapr.io/sidecar-seccomp-profile-type: RuntimeDefault
{{- /* No actors, no workflows, no jobs: nothing to wait for but the broker. */}}
dapr.io/placement-host-address: ""
dapr.io/scheduler-host-address: ""
{{- with $dapr.resources.requests }}
{{- with .cpu }}
dapr.io/sidecar-cpu-request: {{ . | quote }}
{{- end }}
{{- with .memory }}
dapr.io/sidecar-memory-request: {{ . | quote }}
{{- end }}
{{- end }}
{{- with $dapr.resources.limits }}
{{- with .cpu }}
dapr.io/sidecar-cpu-limit: {{ . | quote }}
{{- end }}
{{- with .memory }}
dapr.io/sidecar-memory-limit: {{ . | quote }}
{{- end }}
{{- end }}
{{- with $dapr.image }}
dapr.io/sidecar-image: {{ . }}
{{- end }}
dapr.io/env: {{ include "oncetune.sidecarEnv" .root | quote }}
{{- with .root.Values.broker.secretEnv }}
{{- $pairs := list }}
{{- range $name, $key := . }}{{ $pairs = append $pairs (printf "%s=%s:%s" $name $.root.Values.broker.existingSecret $key) }}{{ end }}
dapr.io/env-from-secret: {{ join "," $pairs | quote }}
{{- end }}
{{- end -}}

{{- define "oncetune.brokerEnv" -}}
{{- $env := deepCopy .Values.broker.env -}}
{{- if .Values.broker.bundled.enabled -}}
{{- $env = merge $env (dict "ONCETUNE_REDIS_HOST" (printf "%s-broker:6379" (include "oncetune.fullname" .))) -}}
{{- end -}}
{{- toYaml $env -}}
{{- end -}}

{{- define "oncetune.sidecarEnv" -}}
{{- $pairs := list -}}
{{- $limit := include "oncetune.mebibytes" (get (.Values.dapr.resources.limits | default dict) "memory") -}}
{{- with .Values.dapr.goMemLimit | default (empty $limit | ternary "" (printf "%dMiB" (div (mul 9 (int $limit)) 10))) }}{{ $pairs = append $pairs (printf "GOMEMLIMIT=%s" .) }}{{ end -}}
{{- range $name, $value := include "oncetune.brokerEnv" . | fromYaml }}{{ $pairs = append $pairs (printf "%s=%s" $name $value) }}{{ end -}}
{{- join "," $pairs -}}
{{- end -}}

{{/* The documents of components/ that this broker needs, with broker.metadata in its component, as one YAML list. */}}
{{- define "oncetune.daprDocuments" -}}
{{- range $pattern := list (printf "components/brokers/%s/*.yaml" .Values.broker.type) "components/*.yaml" }}
{{- range $path, $_ := $.Files.Glob $pattern }}
{{- range $document := regexSplit "(?m)^---.*$" ($.Files.Get $path) -1 }}
{{- with fromYaml $document }}
{{- if eq .kind "Component" }}
{{- $kept := list }}
{{- $named := list }}
{{- range $.Values.broker.metadata }}{{ $named = append $named .name }}{{ end }}
{{- range .spec.metadata }}{{ if not (has .name $named) }}{{ $kept = append $kept . }}{{ end }}{{ end }}
{{- $_ := set .spec "metadata" (concat $kept $.Values.broker.metadata) }}
{{- end }}
- {{ toJson . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
