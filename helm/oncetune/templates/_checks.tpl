{{/* What the schema cannot say: each wrong value is one line, and all of them are told at once. */}}
{{- define "oncetune.checks" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- if regexMatch "^[0-9]" (include "oncetune.fullname" .) }}{{ $wrong = append $wrong (printf "release name: %s-trigger begins with a digit, which no Service may; set fullnameOverride, or give the release another name" (include "oncetune.fullname" .)) }}{{ end -}}
{{- if not $v.gateway.existingSecret }}{{ $wrong = append $wrong (printf "gateway.existingSecret: name the Secret with the key %s (kubectl create secret generic oncetune-gateway --from-literal=%s=...)" $v.gateway.secretKeys.sharedSecret $v.gateway.secretKeys.sharedSecret) }}{{ end -}}
{{- if not $v.postgres.existingSecret }}
{{- $key := eq $v.postgres.mode "bundled" | ternary $v.postgres.secretKeys.password $v.postgres.secretKeys.uri }}
{{- $wrong = append $wrong (printf "postgres.existingSecret: name the Secret with the key %s (kubectl create secret generic oncetune-postgres --from-literal=%s=...), or try postgres.mode=bundled" $key $key) }}{{ end -}}
{{- if eq $v.postgres.mode "bundled" }}
{{- if $v.postgres.host }}{{ $wrong = append $wrong "postgres.host: would be ignored by postgres.mode=bundled; leave one of them out" }}{{ end }}
{{- else if not $v.postgres.host }}
{{- $ignored := list }}
{{- $default := (.Files.Get "defaults.yaml" | fromYaml).postgres }}
{{- range $name := list "database" "parameters" }}{{ if ne (get $v.postgres $name) (get $default $name) }}{{ $ignored = append $ignored $name }}{{ end }}{{ end }}
{{- with $ignored }}{{ $wrong = append $wrong (printf "postgres: without postgres.host the Secret's uri is the whole address; %s would be ignored: write them into the uri, or give the host" (join ", " .)) }}{{ end }}
{{- end -}}
{{- range $name := list "apiTokenSecret" "appTokenSecret" }}
{{- if not (get $v.dapr $name) }}{{ $wrong = append $wrong (printf "dapr.%s: name the Secret with the key token (kubectl create secret generic oncetune-dapr-%s --from-literal=token=...)" $name ($name | trimSuffix "TokenSecret")) }}{{ end }}
{{- end -}}
{{- if and (eq $v.dapr.apiTokenSecret $v.dapr.appTokenSecret) $v.dapr.apiTokenSecret }}{{ $wrong = append $wrong "dapr.appTokenSecret: use another Secret than dapr.apiTokenSecret, or each side could play the other" }}{{ end -}}
{{- if and $v.broker.bundled.enabled (ne $v.broker.type "redis") }}{{ $wrong = append $wrong (printf "broker.bundled: the bundled broker speaks the Redis API; broker.type=%s needs a broker of yours" $v.broker.type) }}{{ end -}}
{{- if and $v.broker.bundled.enabled (get $v.broker.env "ONCETUNE_REDIS_HOST") }}{{ $wrong = append $wrong "broker.env.ONCETUNE_REDIS_HOST: the sidecars would go there, and nobody to the bundled broker; leave it or broker.bundled.enabled out" }}{{ end -}}
{{- if and (or $v.broker.secretEnv $v.broker.bundled.enabled) (not $v.broker.existingSecret) }}{{ $wrong = append $wrong "broker.existingSecret: name the Secret that broker.secretEnv and broker.bundled read (kubectl create secret generic oncetune-broker --from-literal=password=...)" }}{{ end -}}
{{- if not (.Files.Glob (printf "components/brokers/%s/*.yaml" $v.broker.type)) }}{{ $wrong = append $wrong (printf "broker.type: this chart has no component file for %s" $v.broker.type) }}{{ end -}}
{{- range $name, $value := $v.broker.env }}
{{- if and $value (or (regexMatch "PASSWORD|TOKEN|SECRET" $name) (contains "@" $value)) }}{{ $wrong = append $wrong (printf "broker.env.%s: a secret would be read in the open there; put it into broker.existingSecret and its key into broker.secretEnv" $name) }}{{ end }}
{{- end -}}
{{- range $v.broker.metadata }}
{{- if and .value (or (regexMatch "(?i)password|token$|secret|connectionString|client_?key$|seedKey|jwt" .name) (regexMatch "://[^/]*@" .value)) }}{{ $wrong = append $wrong (printf "broker.metadata %s: a secret would be read in the open there; name a variable (envRef) of broker.secretEnv" .name) }}{{ end }}
{{- end -}}
{{- $given := merge (include "oncetune.brokerEnv" . | fromYaml) $v.broker.secretEnv }}
{{- range $document := include "oncetune.daprDocuments" . | fromYamlArray }}
{{- if eq $document.kind "Component" }}
{{- range $document.spec.metadata }}
{{- if and .envRef (not (hasKey $given .envRef)) }}{{ $wrong = append $wrong (printf "broker.env: broker.type=%s needs %s (a value there, or in broker.secretEnv the key of broker.existingSecret)" $v.broker.type .envRef) }}{{ end }}
{{- end }}
{{- end }}
{{- end -}}
{{- if and $v.gateway.ingress.enabled $v.gateway.httpRoute.enabled }}{{ $wrong = append $wrong "gateway: enable ingress or httpRoute, not both" }}{{ end -}}
{{- if and $v.gateway.ingress.enabled (not $v.gateway.ingress.host) }}{{ $wrong = append $wrong "gateway.ingress.host: give the name under which the gateway reaches oncetune" }}{{ end -}}
{{- if and $v.gateway.httpRoute.enabled (not $v.gateway.httpRoute.parentRefs) }}{{ $wrong = append $wrong "gateway.httpRoute.parentRefs: name the Gateway that the route belongs to" }}{{ end -}}
{{- if eq $v.artifacts.store "s3" }}
{{- if not $v.artifacts.s3.bucket }}{{ $wrong = append $wrong "artifacts.s3.bucket: name the bucket that results go to" }}{{ end }}
{{- if $v.artifacts.inStatus }}{{ $wrong = append $wrong "artifacts.inStatus: nothing of a bucket is mounted; leave it out with artifacts.store=s3" }}{{ end }}
{{- else if $v.artifacts.s3.bucket }}{{ $wrong = append $wrong "artifacts.s3.bucket: would be ignored by artifacts.store=folder" }}
{{- end -}}
{{- if and $v.artifacts.inStatus (has "ReadWriteOncePod" $v.trainer.artifacts.accessModes) (not $v.trainer.artifacts.existingClaim) }}{{ $wrong = append $wrong "artifacts.inStatus: a volume of ReadWriteOncePod is one pod's alone; use ReadWriteMany, or ReadWriteOnce on one node" }}{{ end -}}
{{- if and $v.trainer.keda.enabled (not $v.trainer.keda.triggers) }}{{ $wrong = append $wrong "trainer.keda.triggers: say what KEDA shall watch; there is no default" }}{{ end -}}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.metrics) (or $v.metrics.serviceMonitor.enabled $v.metrics.podMonitor.enabled) }}{{ $wrong = append $wrong "networkPolicy.metrics: name the pods of Prometheus ({namespaceSelector: ...}), or its scrapes are cut off" }}{{ end -}}
{{- with include "oncetune.requests" . }}
{{- if and (lt (int .) 10) (not (hasKey $v.trigger.settings "ONCETUNE_REQUESTS")) }}{{ $wrong = append $wrong (printf "trigger.resources.limits.memory: %v has no room for ten requests of DPO_MAX_DATASET_SIZE_MB=%v and for parsing; give more" $v.trigger.resources.limits.memory (get $v.trigger.settings "DPO_MAX_DATASET_SIZE_MB" | default 5)) }}{{ end }}
{{- end -}}
{{- range $name := list "trigger" "status" }}
{{- $scaled := (get $v $name).autoscaling }}
{{- if and $scaled.enabled (gt (int $scaled.minReplicas) (int $scaled.maxReplicas)) }}{{ $wrong = append $wrong (printf "%s.autoscaling: minReplicas is more than maxReplicas" $name) }}{{ end }}
{{- end -}}
{{- if and $v.trainer.keda.enabled (gt (int $v.trainer.keda.minReplicas) (int $v.trainer.keda.maxReplicas)) }}{{ $wrong = append $wrong "trainer.keda: minReplicas is more than maxReplicas" }}{{ end -}}
{{- range $pod := include "oncetune.pods" . | fromYamlArray }}
{{- $values := get $v $pod.values }}
{{- $least := add ($values.preStopSeconds | default 0) (include "oncetune.endingSeconds" $) }}
{{- if and (hasKey $values "terminationGracePeriodSeconds") (lt (int $values.terminationGracePeriodSeconds) (int $least)) }}{{ $wrong = append $wrong (printf "%s.terminationGracePeriodSeconds: %v is too short, %v is the least (preStopSeconds %v, 15 for what is in work, dapr.blockShutdownDuration %s, dapr.gracefulShutdownSeconds %v)" $pod.values $values.terminationGracePeriodSeconds $least $values.preStopSeconds $v.dapr.blockShutdownDuration $v.dapr.gracefulShutdownSeconds) }}{{ end }}
{{- end -}}
{{- if $v.together }}
{{- $ignored := list }}
{{- $default := (.Files.Get "defaults.yaml" | fromYaml).status }}
{{- range $name, $value := omit $v.status "settings" "service" }}
{{- $given := toJson $value }}
{{- if and (ne $given (toJson (get $default $name))) (ne $given (toJson (get $v.trigger $name))) }}{{ $ignored = append $ignored (printf "status.%s" $name) }}{{ end }}
{{- end }}
{{- range $name, $value := $v.status.settings }}
{{- if and (hasKey $v.trigger.settings $name) (ne (toJson $value) (toJson (get $v.trigger.settings $name))) }}{{ $ignored = append $ignored (printf "status.settings.%s" $name) }}{{ end }}
{{- end }}
{{- with $ignored }}{{ $wrong = append $wrong (printf "together: the one Deployment takes trigger's values; %s would be ignored: give the same below trigger" (join ", " .)) }}{{ end }}
{{- end -}}
{{- $models := get $v.trigger.settings "ONCETUNE_TRIGGER_MODELS" | default dict }}
{{- if and $models $v.tests.baseModel (not (hasKey $models $v.tests.baseModel)) (not (has $v.tests.baseModel (values $models))) }}{{ $wrong = append $wrong (printf "tests.baseModel: %s is none of trigger.settings.ONCETUNE_TRIGGER_MODELS (%s)" $v.tests.baseModel (keys $models | sortAlpha | join ", ")) }}{{ end -}}
{{- $several := or (gt (int $v.trainer.replicas) 1) (and $v.trainer.keda.enabled (gt (int $v.trainer.keda.maxReplicas) 1)) -}}
{{- if $several }}
{{- range $name := list "artifacts" "models" }}
{{- $volume := get $v.trainer $name }}
{{- if and (not $volume.existingClaim) (not (has "ReadWriteMany" $volume.accessModes)) }}{{ $wrong = append $wrong (printf "trainer.%s.accessModes: several trainers need ReadWriteMany" $name) }}{{ end }}
{{- end }}
{{- end -}}
{{- with $wrong }}{{ fail (printf "\n\nThese values do not fit:\n  %s\n" (join "\n  " .)) }}{{ end -}}
{{- end -}}
