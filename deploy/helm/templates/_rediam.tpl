{{- /* ../../kubernetes says why all of this is as it is; a test holds both together. */}}

{{- define "rediam.sidecar" }}
- name: rediam
  image: {{ required "image: that of deploy/proxy.Dockerfile" .Values.image | quote }}
  restartPolicy: Always
  args: [--listen=127.0.0.1:6379, --admin=0.0.0.0:9736, --drain={{ .Values.drain }}]
  env:
    - {name: REDIAM_CACHE, value: {{ required "cache: its name" .Values.cache | quote }}}
    - {name: REDIAM_USER, value: {{ required "user: whom to sign in as" .Values.user | quote }}}
    - {name: REDIAM_ENDPOINT, value: {{ required "endpoint: HOST:PORT" .Values.endpoint | quote }}}
    {{- range $name, $value := .Values.env }}
    - {name: {{ $name }}, value: {{ $value | quote }}}
    {{- end }}
  ports:
    - {name: rediam-admin, containerPort: 9736}
  startupProbe:
    httpGet: {path: /startup, port: rediam-admin}
    periodSeconds: 1
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /livez, port: rediam-admin}
    periodSeconds: 10
    failureThreshold: 3
  resources: {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    runAsUser: 65532
    {{- include "rediam.locked" . | nindent 4 }}
{{- end }}

{{- define "rediam.locked" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "rediam.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name | quote }}
  {{- with .roleArn }}
  annotations: {eks.amazonaws.com/role-arn: {{ . | quote }}}
  {{- end }}
{{- end }}
