{{/* `oncetune migrate --wait`, by the image of the pod that waits: (dict "root" $ "image" … "secret" …) */}}
{{- define "oncetune.waitContainer" -}}
- name: schema
  image: {{ include "oncetune.image" . }}
  imagePullPolicy: {{ .image.pullPolicy }}
  args: [migrate, --wait, --timeout, {{ .root.Values.migrations.waitSeconds | quote }}]
  env:
    {{- include "oncetune.databaseEnv" . | trim | nindent 4 }}
  resources:
    {{- toYaml .root.Values.migrations.resources | nindent 4 }}
  securityContext:
    {{- toYaml .root.Values.containerSecurityContext | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* What every pod of ours has: no token of the API server, and no variables of other Services, since those of a
     Service oncetune-trigger would begin like our settings. */}}
{{- define "oncetune.podBasics" -}}
serviceAccountName: {{ include "oncetune.serviceAccount" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Which nodes a pod may run on: (dict "nodeSelector" … "tolerations" …) */}}
{{- define "oncetune.nodes" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where a pod that serves may run. */}}
{{- define "oncetune.scheduling" -}}
{{- $values := .values -}}
{{- $tolerations := $values.tolerations }}
{{- if and $values.gpu (($values.gpu).enabled) }}
{{- $tolerations = append $tolerations (dict "key" $values.gpu.resourceName "operator" "Exists" "effect" "NoSchedule") }}
{{- with $values.gpu.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with $values.gpu.resourceClaims }}
resourceClaims:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- include "oncetune.nodes" (dict "nodeSelector" $values.nodeSelector "tolerations" $tolerations) }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- with $values.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "oncetune.selector" . | nindent 8 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "oncetune.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if has "trainer" .pod.services }}
- {name: artifacts, mountPath: /var/lib/oncetune/artifacts}
- {name: models, mountPath: /var/lib/oncetune/models}
- {name: staging, mountPath: /var/lib/oncetune/staging}
- {name: shared-memory, mountPath: /dev/shm}
{{- else if and (has "status" .pod.services) .root.Values.artifacts.inStatus }}
- {name: artifacts, mountPath: /var/lib/oncetune/artifacts, readOnly: true}
{{- end }}
{{- with .values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "oncetune.volumes" -}}
- name: tmp
  emptyDir: {}
{{- if has "trainer" .pod.services }}
{{- range $name := list "artifacts" "models" }}
- name: {{ $name }}
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-%s" (include "oncetune.fullname" $.root) $name) (get $.values $name).existingClaim | quote }}
{{- end }}
- name: staging
  emptyDir: {sizeLimit: {{ .values.stagingSize }}}
- name: shared-memory
  emptyDir: {medium: Memory, sizeLimit: {{ .values.sharedMemory }}}
{{- else if and (has "status" .pod.services) .root.Values.artifacts.inStatus }}
- name: artifacts
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-artifacts" (include "oncetune.fullname" .root)) .root.Values.trainer.artifacts.existingClaim | quote }}
    readOnly: true
{{- end }}
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "oncetune.probes" -}}
startupProbe:
  httpGet: {path: /live, port: http}
  {{- toYaml .startup | nindent 2 }}
readinessProbe:
  httpGet: {path: /ready, port: http}
  {{- toYaml .readiness | nindent 2 }}
livenessProbe:
  httpGet: {path: /live, port: http}
  {{- toYaml .liveness | nindent 2 }}
{{- end -}}

{{- define "oncetune.resources" -}}
{{- $resources := deepCopy .resources -}}
{{- with .gpu }}
{{- if .enabled }}
{{- if .resourceClaims }}
{{- $claims := list }}
{{- range .resourceClaims }}{{ $claims = append $claims (dict "name" .name) }}{{ end }}
{{- $_ := set $resources "claims" $claims }}
{{- else }}
{{- $_ := set $resources "limits" (merge (dict .resourceName .count) (default (dict) $resources.limits)) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $resources -}}
{{- end -}}

{{/* A Deployment of a process that serves: (dict "root" $ "pod" $pod "values" … "image" …) */}}
{{- define "oncetune.deployment" -}}
{{- $root := .root -}}
{{- $values := .values -}}
{{- $trainer := has "trainer" .pod.services -}}
{{- $selector := dict "root" $root "component" .pod.name -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "oncetune.metadata" (dict "root" $root "component" .pod.name "name" (printf "%s-%s" (include "oncetune.fullname" $root) .pod.name)) | nindent 2 }}
spec:
  {{- if not (or (($values.autoscaling).enabled) (($values.keda).enabled)) }}
  replicas: {{ $values.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  strategy:
    {{- if $trainer }}
    type: Recreate  # the next trainer would wait for the card, and for the volume, that this one holds
    {{- else }}
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
    {{- end }}
  selector:
    matchLabels:
      {{- include "oncetune.selector" $selector | nindent 6 }}
  template:
    metadata:
      {{- /* Each name once: of labels those that selectors read are ours; the user's own go before the rest. */}}
      labels:
        {{- merge (include "oncetune.selector" $selector | fromYaml) (omit $values.podLabels "app.kubernetes.io/part-of") (include "oncetune.podLabels" $selector | fromYaml) | toYaml | nindent 8 }}
      annotations:
        {{- $own := dict "kubectl.kubernetes.io/default-container" .pod.name }}
        {{- merge (dict) $values.podAnnotations $root.Values.dapr.annotations (include "oncetune.daprAnnotations" (dict "root" $root "pod" .pod) | fromYaml) $own | toYaml | nindent 8 }}
    spec:
      {{- include "oncetune.podBasics" $root | nindent 6 }}
      {{- if $trainer }}
      {{- /* Its training ends, then its requests and its sidecar. */}}
      terminationGracePeriodSeconds: {{ add $values.checkpointGraceSeconds (include "oncetune.endingSeconds" $root) }}
      {{- else }}
      terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
      {{- end }}
      {{- include "oncetune.scheduling" (dict "root" $root "component" .pod.name "values" $values) | trim | nindent 6 }}
      initContainers:
        {{- include "oncetune.waitContainer" (dict "root" $root "image" .image "secret" (default $root.Values.postgres.existingSecret $values.databaseSecret)) | nindent 8 }}
      containers:
        - name: {{ .pod.name }}
          image: {{ include "oncetune.image" . }}
          imagePullPolicy: {{ .image.pullPolicy }}
          args: [serve, {{ join ", " .pod.services }}]
          ports:
            - {name: http, containerPort: 8080}
          env:
            {{- include "oncetune.env" . | trim | nindent 12 }}
          {{- include "oncetune.probes" $values.probes | nindent 10 }}
          {{- if not $trainer }}
          lifecycle:
            preStop: {exec: {command: [sleep, {{ $values.preStopSeconds | quote }}]}}
          {{- end }}
          resources:
            {{- include "oncetune.resources" $values | nindent 12 }}
          securityContext:
            {{- toYaml $root.Values.containerSecurityContext | nindent 12 }}
          volumeMounts:
            {{- include "oncetune.volumeMounts" . | nindent 12 }}
      volumes:
        {{- include "oncetune.volumes" . | nindent 8 }}
{{- end -}}
