{{- define "oncetune.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- (contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) | replace "." "-" | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "oncetune.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* For pods: nothing that changes with a release, or each one would restart the database. */}}
{{- define "oncetune.podLabels" -}}
{{ include "oncetune.selector" . }}
app.kubernetes.io/part-of: oncetune
{{- with omit .root.Values.commonLabels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/part-of" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* For any object: (dict "root" $ "component" "trigger") */}}
{{- define "oncetune.labels" -}}
{{ include "oncetune.podLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The metadata of an object: also "name", and where there are any "annotations" and more "labels". */}}
{{- define "oncetune.metadata" -}}
name: {{ .name | quote }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- merge (dict) (default (dict) .labels) (include "oncetune.labels" . | fromYaml) | toYaml | nindent 2 }}
{{- with merge (dict) (default (dict) .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "image" .Values.image) */}}
{{- define "oncetune.image" -}}
{{- with .root.Values.global.imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{- define "oncetune.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "oncetune.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The pods that serve: which services each of them has, whose values it takes. */}}
{{- define "oncetune.pods" -}}
{{- if .Values.together }}
- {name: api, values: trigger, services: [trigger, status]}
{{- else }}
- {name: trigger, values: trigger, services: [trigger]}
- {name: status, values: status, services: [status]}
{{- end }}
- {name: trainer, values: trainer, services: [trainer]}
{{- end -}}

{{/* The component label of the pods that serve .service */}}
{{- define "oncetune.componentOf" -}}
{{- and .root.Values.together (ne .service "trainer") | ternary "api" .service -}}
{{- end -}}

{{/* A quantity of memory in whole MiB; empty where none is given, and of less than one. */}}
{{- define "oncetune.mebibytes" -}}
{{- $given := kindIs "string" . | ternary . (printf "%.0f" (. | default 0 | float64)) -}}
{{- $units := dict "" 1.0 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 -}}
{{- $bytes := mulf (regexFind "^[0-9.]+" $given | float64) (get $units (regexFind "[A-Za-z]*$" $given) | default 0.0) -}}
{{- with divf $bytes 1048576.0 | floor | int }}{{ . }}{{ end -}}
{{- end -}}

{{/* A duration of Go's (1m30s) in whole seconds, rounded up. */}}
{{- define "oncetune.seconds" -}}
{{- $seconds := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h)" . -1 -}}
{{- $seconds = addf $seconds (mulf (regexFind "^[0-9.]+" . | float64) (get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{- ceil $seconds | int -}}
{{- end -}}

{{/* What a pod needs to end beside what its own values say: 15 s for the requests in work and the loops (serve.py gives
     the requests 10), then its sidecar's two waits. */}}
{{- define "oncetune.endingSeconds" -}}
{{- add 15 (include "oncetune.seconds" .Values.dapr.blockShutdownDuration) .Values.dapr.gracefulShutdownSeconds -}}
{{- end -}}

{{/* The address from outside that the ingress gives both; empty without one. */}}
{{- define "oncetune.outside" -}}
{{- with .Values.gateway.ingress }}{{ if .enabled }}{{ empty .tlsSecret | ternary "http" "https" }}://{{ .host }}{{ end }}{{ end -}}
{{- end -}}

{{/* Where the command line finds trigger and status from inside. */}}
{{- define "oncetune.url" -}}
{{- $fullname := include "oncetune.fullname" . -}}
http://{{ $fullname }}-trigger:{{ .Values.trigger.service.port }},http://{{ $fullname }}-status:{{ .Values.status.service.port }}
{{- end -}}
