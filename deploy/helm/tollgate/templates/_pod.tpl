{{/* The command line. A password never stands here. */}}
{{- define "tollgate.args" -}}
- serve
- --grpc-listen={{ .Values.listen }}:8081
- --admin-listen={{ .Values.listen }}:8080
{{- if eq .Values.limits.source "files" }}
- --config=/etc/tollgate/limits
{{- else }}
- --xds-server={{ .Values.xds.server }}
- --xds-node-id={{ .Values.xds.nodeId }}
- --xds-wait-for-rules={{ ternary "on" "off" .Values.xds.waitForRules }}
{{- with .Values.xds.tls }}
{{- if .existingSecret }}
- --xds-ca=/etc/tollgate/xds-tls/ca.crt
{{- if .clientCertificate }}
- --xds-cert=/etc/tollgate/xds-tls/tls.crt
- --xds-key=/etc/tollgate/xds-tls/tls.key
{{- end }}
{{- with .serverName }}
- --xds-server-name={{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.store }}
{{- if not .existingSecret.urlKey }}
- --store={{ .url }}
{{- if .existingSecret.name }}
- --store-password-file=/etc/tollgate/store-password/password
{{- end }}
{{- end }}
{{- if .tls.existingSecret }}
- --store-ca=/etc/tollgate/store-tls/ca.crt
{{- if .tls.clientCertificate }}
- --store-cert=/etc/tollgate/store-tls/tls.crt
- --store-key=/etc/tollgate/store-tls/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.grpc.tls }}
{{- if .existingSecret }}
- --grpc-tls-cert=/etc/tollgate/grpc-tls/tls.crt
- --grpc-tls-key=/etc/tollgate/grpc-tls/tls.key
{{- if .clientCertificates }}
- --grpc-client-ca=/etc/tollgate/grpc-tls/ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.authzHttp.enabled }}
- --authz-http-listen={{ .Values.listen }}:8082
- --authz-request-from={{ .Values.authzHttp.requestFrom }}
{{- end }}
- --runtimes={{ .Values.runtimes }}
- --drain-wait={{ .Values.drain.wait }}
- --drain-timeout={{ .Values.drain.timeout }}
{{- range $flag, $value := .Values.flags }}
{{- /* Helm reads numbers as floats, and would write 2000000 as 2e+06. */}}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}
{{- $value = int64 $value }}
{{- end }}
- {{ printf "--%s=%v" $flag $value | quote }}
{{- end }}
{{- end -}}

{{/* Whole folders, because a file mounted by subPath never changes. */}}
{{- define "tollgate.mounts" -}}
{{- if eq .Values.limits.source "files" }}
- { name: limits, mountPath: /etc/tollgate/limits, readOnly: true }
{{- end }}
{{- if and .Values.store.existingSecret.name (not .Values.store.existingSecret.urlKey) }}
- { name: store-password, mountPath: /etc/tollgate/store-password, readOnly: true }
{{- end }}
{{- if .Values.store.tls.existingSecret }}
- { name: store-tls, mountPath: /etc/tollgate/store-tls, readOnly: true }
{{- end }}
{{- if .Values.grpc.tls.existingSecret }}
- { name: grpc-tls, mountPath: /etc/tollgate/grpc-tls, readOnly: true }
{{- end }}
{{- if and (eq .Values.limits.source "xds") .Values.xds.tls.existingSecret }}
- { name: xds-tls, mountPath: /etc/tollgate/xds-tls, readOnly: true }
{{- end }}
{{- end -}}

{{- define "tollgate.volumes" -}}
{{- if eq .Values.limits.source "files" }}
- name: limits
  configMap: { name: {{ include "tollgate.limitsConfigMap" . }} }
{{- end }}
{{- with .Values.store.existingSecret }}
{{- if and .name (not .urlKey) }}
- name: store-password
  secret:
    secretName: {{ .name }}
    defaultMode: 0440
    items: [{ key: {{ .passwordKey }}, path: password }]
{{- end }}
{{- end }}
{{- with .Values.store.tls.existingSecret }}
- name: store-tls
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- with .Values.grpc.tls.existingSecret }}
- name: grpc-tls
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- if and (eq .Values.limits.source "xds") .Values.xds.tls.existingSecret }}
- name: xds-tls
  secret: { secretName: {{ .Values.xds.tls.existingSecret }}, defaultMode: 0440 }
{{- end }}
{{- end -}}
