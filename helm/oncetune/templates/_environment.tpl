{{/* Where the database is, with the login in the Secret .secret */}}
{{- define "oncetune.databaseEnv" -}}
{{- $postgres := .root.Values.postgres -}}
{{- $bundled := eq $postgres.mode "bundled" -}}
{{- if or $bundled $postgres.host }}
- name: DATABASE_URL
  {{- $host := $bundled | ternary (printf "%s-postgres" (include "oncetune.fullname" .root)) $postgres.host }}
  {{- $port := $bundled | ternary 5432 $postgres.port }}
  value: {{ printf "postgresql://%s:%v/%s%s" $host $port $postgres.database ($postgres.parameters | empty | ternary "" (printf "?%s" $postgres.parameters)) | quote }}
- name: PGUSER
  {{- if $bundled }}
  value: oncetune
  {{- else }}
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ $postgres.secretKeys.username | quote }}}}
  {{- end }}
- name: PGPASSWORD
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ $postgres.secretKeys.password | quote }}}}
{{- else }}
- name: DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ $postgres.secretKeys.uri | quote }}}}
{{- end }}
{{- end -}}

{{/* Settings by their names; numbers, maps and lists as JSON. */}}
{{- define "oncetune.settingsEnv" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- end -}}

{{/* How many requests trigger's memory has room for when each holds a body of the largest size. Measured with 5 MiB
     (python -m tests.bench.crowd): 128 MiB at rest; a body that is parsed costs 4 to 13 times its size, one of nothing
     but lists in lists 53 times; one that waits 1.4 times. Empty where the limit does not tell. */}}
{{- define "oncetune.requests" -}}
{{- $settings := .Values.trigger.settings -}}
{{- $size := get $settings "DPO_MAX_DATASET_SIZE_MB" | default 5 | int -}}
{{- $parsed := get $settings "ONCETUNE_TRIGGER_PARSED_AT_ONCE" | default 2 | int -}}
{{- with include "oncetune.mebibytes" (get (.Values.trigger.resources.limits | default dict) "memory") -}}
{{- $free := sub (int .) (add 150 (mul 55 $parsed $size)) -}}
{{- min 1000 (div (mul 2 $free) (mul 3 $size)) -}}
{{- end -}}
{{- end -}}

{{/* Everything that a pod's process reads: (dict "root" $ "pod" $pod "values" $values) */}}
{{- define "oncetune.env" -}}
{{- $values := .root.Values -}}
{{- include "oncetune.databaseEnv" (dict "root" .root "secret" (default $values.postgres.existingSecret .values.databaseSecret)) }}
- name: ONCETUNE_ENVIRONMENT
  value: {{ $values.environment }}
- name: ONCETUNE_PORT
  value: "8080"
- name: DAPR_API_TOKEN
  valueFrom: {secretKeyRef: {name: {{ $values.dapr.apiTokenSecret | quote }}, key: token}}
- name: APP_API_TOKEN
  valueFrom: {secretKeyRef: {name: {{ $values.dapr.appTokenSecret | quote }}, key: token}}
{{- with $values.tracing.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ $values.tracing.samplingRate | quote }}
{{- end }}
{{- if has "trainer" .pod.services }}
{{- include "oncetune.trainerEnv" . }}
{{- else }}
{{- $keys := $values.gateway.secretKeys }}
{{- /* `kubectl exec deploy/oncetune-status -- oncetune runs list` needs to be told nothing. */}}
- name: ONCETUNE_URL
  value: {{ include "oncetune.url" .root }}
- name: DPO_GATEWAY_SHARED_SECRET
  valueFrom: {secretKeyRef: {name: {{ $values.gateway.existingSecret | quote }}, key: {{ $keys.sharedSecret | quote }}}}
- name: DPO_GATEWAY_SHARED_SECRET_PREVIOUS
  valueFrom: {secretKeyRef: {name: {{ $values.gateway.existingSecret | quote }}, key: {{ $keys.sharedSecretPrevious | quote }}, optional: true}}
{{- if has "trigger" .pod.services }}
- name: DPO_REGISTER_SECRET
  valueFrom: {secretKeyRef: {name: {{ $values.gateway.existingSecret | quote }}, key: {{ $keys.registerSecret | quote }}, optional: true}}
{{- end }}
{{- /* Where the gateway reaches both, and what links begin with: behind TLS a pod does not see that it is https. */}}
{{- $public := pick $values.trigger.settings "DPO_PUBLIC_BASE_URL" }}
{{- with .root.Values.gateway.ingress }}
{{- if and .enabled .tlsSecret }}{{ $public = merge $public (dict "DPO_PUBLIC_BASE_URL" (include "oncetune.outside" $.root)) }}{{ end }}
{{- end }}
{{- $settings := $public }}
{{- if has "status" .pod.services }}
{{- if include "oncetune.statusHasArtifacts" .root }}{{ include "oncetune.artifactsEnv" (dict "root" .root "public" true) }}{{ end }}
{{- end }}
{{- range .pod.services }}{{ $settings = merge $settings (get $values .).settings }}{{ end }}
{{- if has "trigger" .pod.services }}
{{- with include "oncetune.requests" .root }}{{ $settings = merge $settings (dict "ONCETUNE_REQUESTS" (int .)) }}{{ end }}
{{- end }}
{{- include "oncetune.settingsEnv" (merge $settings $values.gateway.settings) }}
{{- end }}
{{- with .values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where results lie, and who may go there: (dict "root" $ "public" true for whoever only signs links) */}}
{{- define "oncetune.artifactsEnv" -}}
{{- $s3 := .root.Values.artifacts.s3 }}
- name: ONCETUNE_ARTIFACTS
{{- if eq .root.Values.artifacts.store "folder" }}
  value: /var/lib/oncetune/artifacts
{{- else }}
  value: {{ printf "s3://%s/%s" $s3.bucket $s3.prefix | trimSuffix "/" | quote }}
{{- with $s3.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .public | ternary (default $s3.endpoint $s3.publicEndpoint) $s3.endpoint }}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
{{- with $s3.existingSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: {{ $s3.secretKeys.accessKeyId | quote }}}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: {{ $s3.secretKeys.secretAccessKey | quote }}}}
{{- end }}
{{- end }}
{{- end -}}

{{/* Whether status knows where results are: "true" or nothing. */}}
{{- define "oncetune.statusHasArtifacts" -}}
{{- if or .Values.artifacts.inStatus (eq .Values.artifacts.store "s3") }}true{{ end -}}
{{- end -}}

{{- define "oncetune.trainerEnv" -}}
{{- $trainer := .root.Values.trainer }}
{{- include "oncetune.artifactsEnv" (dict "root" .root "public" false) }}
- name: ONCETUNE_TRAINER_CHECKPOINTS
  value: /var/lib/oncetune/artifacts
- name: ONCETUNE_MODEL_CACHE
  value: /var/lib/oncetune/models/converted
- name: ONCETUNE_TRAINER_STAGING
  value: /var/lib/oncetune/staging/attempts
- name: ONCETUNE_TRAINER_CHILD_GRACE
  value: PT{{ $trainer.checkpointGraceSeconds }}S
- name: HF_HOME
  value: /var/lib/oncetune/models/hub
- name: HF_HUB_OFFLINE
  value: {{ $trainer.huggingFace.offline | ternary "1" "0" | quote }}
- name: HOME
  value: /tmp
{{- with $trainer.huggingFace.existingSecret }}
- name: HF_TOKEN
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: {{ $trainer.huggingFace.tokenKey | quote }}}}
{{- end }}
{{- /* Both rooms count strikes and take datasets by one rule. */}}
{{- $shared := pick .root.Values.trigger.settings "ONCETUNE_TRIGGER_MAX_STRIKES" "ONCETUNE_TRIGGER_MAX_REQUEUE_BACKOFF" "DPO_MAX_DATASET_SIZE_MB" }}
{{- include "oncetune.settingsEnv" (merge (dict) $trainer.settings $shared) }}
{{- end -}}
