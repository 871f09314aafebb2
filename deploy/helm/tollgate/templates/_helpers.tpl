{{- define "tollgate.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "tollgate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- else if contains (include "tollgate.name" .) .Release.Name -}}
{{- .Release.Name | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tollgate.name" .) | trunc 54 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tollgate.selector" -}}
app.kubernetes.io/name: {{ include "tollgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tollgate.labels" -}}
{{ include "tollgate.selector" . }}
app.kubernetes.io/component: ratelimit
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "tollgate.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "tollgate.limitsConfigMap" -}}
{{- .Values.limits.existingConfigMap | default (printf "%s-limits" (include "tollgate.fullname" .)) -}}
{{- end -}}

{{/* What the schema cannot say. */}}
{{- define "tollgate.check" -}}
{{- $values := .Values -}}
{{- $most := ternary $values.autoscaling.maxReplicas $values.replicas $values.autoscaling.enabled -}}
{{- if and (eq $values.store.url "memory") (not $values.store.existingSecret.urlKey) (gt (int $most) 1) -}}
{{- fail "store.url is memory, where each replica counts on its own: name a Redis, or set autoscaling.enabled: false and replicas: 1" -}}
{{- end -}}
{{- if regexMatch "://[^?]*:[^?]*@" $values.store.url -}}
{{- fail "store.url holds a password, which everybody who can read the Deployment would see: put it into a Secret and name that in store.existingSecret" -}}
{{- end -}}
{{- if and $values.store.tls.existingSecret (not (regexMatch "^(rediss|valkeys|rediss\\+(sentinel|cluster))://" $values.store.url)) (not $values.store.existingSecret.urlKey) -}}
{{- fail "store.tls.existingSecret is set, but store.url does not begin with rediss://, so the connection would be plain text" -}}
{{- end -}}
{{- if and $values.store.existingSecret.urlKey (not $values.store.existingSecret.name) -}}
{{- fail "store.existingSecret.urlKey is set, but store.existingSecret.name is not" -}}
{{- end -}}
{{- if and (eq $values.limits.source "xds") (not $values.xds.server) -}}
{{- fail "limits.source is xds: set xds.server to the host:port of the control plane" -}}
{{- end -}}
{{- if and (eq $values.limits.source "files") $values.xds.server -}}
{{- fail "xds.server is set, but limits.source is files: set limits.source: xds" -}}
{{- end -}}
{{- if and (eq $values.limits.source "files") (not $values.limits.existingConfigMap) (not $values.limits.files) -}}
{{- fail "there are no limits: set limits.files or limits.existingConfigMap" -}}
{{- end -}}
{{- if and $values.grpc.tls.clientCertificates (not $values.grpc.tls.existingSecret) -}}
{{- fail "grpc.tls.clientCertificates is true, but there is no grpc.tls.existingSecret" -}}
{{- end -}}
{{- $drain := add (trimSuffix "s" $values.drain.wait | int) (trimSuffix "s" $values.drain.timeout | int) -}}
{{- if ge (int $drain) (int $values.terminationGracePeriodSeconds) -}}
{{- fail (printf "drain.wait and drain.timeout take %d s, but terminationGracePeriodSeconds is %d: calls in flight would be cut" $drain (int $values.terminationGracePeriodSeconds)) -}}
{{- end -}}
{{- end -}}
