{{- define "tracerag.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels by which the objects of one component find each other. Called with a list: the context, the component. */}}
{{- define "tracerag.selector" -}}
{{- $context := index . 0 -}}
app.kubernetes.io/name: {{ default $context.Chart.Name $context.Values.nameOverride }}
app.kubernetes.io/instance: {{ $context.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "tracerag.labels" -}}
{{- $context := index . 0 -}}
{{ include "tracerag.selector" . }}
app.kubernetes.io/version: {{ $context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $context.Chart.Name $context.Chart.Version }}
{{- end -}}

{{- define "tracerag.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{- define "tracerag.claim" -}}
{{ default (printf "%s-lake" (include "tracerag.fullname" .)) .Values.lake.volume.existingClaim }}
{{- end -}}

{{/* A map as TOML. Numbers of a values file are floating-point to Helm; the configuration has whole ones only. */}}
{{- define "tracerag.toml" -}}
{{- regexReplaceAll "(?m)(= -?[0-9]+)\\.0$" (toToml .) "${1}" -}}
{{- end -}}

{{/* The configuration of what reads the topics as the values name them, with what the chart decides. */}}
{{- define "tracerag.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := required "config.kafka.bootstrap_servers is empty: name the brokers" (dig "kafka" "bootstrap_servers" "" $config) -}}
{{- if dig "redaction" "key" "" $config -}}
{{- fail "config.redaction.key would be readable in a ConfigMap: put it into a Secret, and name that in redaction.existingSecret" -}}
{{- end -}}
{{- $key := printf "${file:/etc/tracerag/redaction/%s}" .Values.redaction.secretKey -}}
{{- $decided := dict "redaction" (dict "key" $key) "metrics" (dict "listen" "0.0.0.0:9464") -}}
{{- mergeOverwrite $config $decided | toYaml -}}
{{- end -}}

{{/* The workers' own: a name in the group, and the re-keyed topics where there are some. */}}
{{- define "tracerag.workerConfig" -}}
{{- $config := include "tracerag.config" . | fromYaml -}}
{{- if and .Values.workers.staticMembership (not (dig "kafka" "options" "group.instance.id" "" $config)) -}}
{{- $config = mergeOverwrite $config (dict "kafka" (dict "options" (dict "group.instance.id" "${env:POD_NAME}"))) -}}
{{- end -}}
{{- if .Values.rekey.enabled -}}
{{- $rekey := default dict $config.rekey -}}
{{- range $signal, $topic := dict "spans" "otlp_spans_by_trace" "logs" "otlp_logs_by_trace" -}}
{{- $read := dict "topics" (list (default $topic (get $rekey $signal))) "encoding" "otlp_proto" -}}
{{- $config = mergeOverwrite $config (dict "topics" (dict $signal $read)) -}}
{{- end -}}
{{- $config = mergeOverwrite $config (dict "kafka" (dict "initial_offset" "earliest")) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The servers' own: addresses, tokens and TLS, and nothing of Kafka, whose login they then need not have. */}}
{{- define "tracerag.serverConfig" -}}
{{- $config := omit (deepCopy .Values.config) "kafka" "topics" "rekey" -}}
{{- $server := .Values.server -}}
{{- $serve := dict "http" "0.0.0.0:8080" "tokens_file" (printf "/etc/tracerag/tokens/%s" $server.tokens.secretKey) -}}
{{- $_ := set $serve "flight_sql" (ternary "0.0.0.0:8081" "" $server.flightSql) -}}
{{- $_ := set $serve "postgres" (ternary "0.0.0.0:5433" "" $server.postgres) -}}
{{- if $server.tls.existingSecret -}}
{{- $_ := set $serve "tls_certificate" "/etc/tracerag/tls/tls.crt" -}}
{{- $_ := set $serve "tls_key" "/etc/tracerag/tls/tls.key" -}}
{{- end -}}
{{- $_ := set $serve "behind_tls" $server.behindTls -}}
{{- if and $server.ingress.enabled (not (dig "serve" "public_url" "" $config)) -}}
{{- $_ := set $serve "public_url" (printf "https://%s" $server.ingress.host) -}}
{{- end -}}
{{- mergeOverwrite $config (dict "serve" $serve "metrics" (dict "listen" "0.0.0.0:9464")) | toYaml -}}
{{- end -}}

{{/* The pod of one component. Called with a dict: context, component, arguments, values (of the component). */}}
{{- define "tracerag.pod" -}}
{{- $context := .context -}}
{{- $isServer := eq .component "server" -}}
{{- $server := $context.Values.server -}}
{{- $lake := and (has .component (list "worker" "server")) $context.Values.lake.volume.enabled -}}
metadata:
  labels:
    {{- include "tracerag.labels" (list $context .component) | nindent 4 }}
  annotations:
    # A changed configuration is a changed pod, so that an upgrade restarts one after the other.
    checksum/config: {{ include (print $context.Template.BasePath "/configmap.yaml") $context | sha256sum }}
    {{- with .values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "tracerag.fullname" $context }}
  automountServiceAccountToken: false
  # Variables of other services may begin like those of the configuration.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: { type: RuntimeDefault }
  {{- with $context.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: tracerag
      image: {{ include "tracerag.image" $context | quote }}
      imagePullPolicy: {{ $context.Values.image.pullPolicy }}
      args: {{ toJson .arguments }}
      env:
        - name: POD_NAME
          valueFrom: { fieldRef: { fieldPath: metadata.name } }
        - name: TRACERAG_CONFIG
          value: /etc/tracerag/config/tracerag.toml
        # The image names a lake in its environment, and that counts before the file.
        - name: TRACERAG_LAKE__URI
          value: {{ $context.Values.config.lake.uri | quote }}
        {{- with $context.Values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $context.Values.envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - { name: metrics, containerPort: 9464 }
        {{- if $isServer }}
        - { name: http, containerPort: 8080 }
        {{- if $server.flightSql }}
        - { name: flight-sql, containerPort: 8081 }
        {{- end }}
        {{- if $server.postgres }}
        - { name: postgres, containerPort: 5433 }
        {{- end }}
        {{- end }}
      # The process answers: only one that hangs is restarted. What waits for its lake is not ready, and no more.
      livenessProbe:
        httpGet: { path: /healthz, port: metrics }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /readyz, port: metrics }
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      volumeMounts:
        - { name: config, mountPath: /etc/tracerag/config, readOnly: true }
        {{- if $isServer }}
        # The folder and not the file, so that a token that is added or revoked arrives without a restart.
        - { name: tokens, mountPath: /etc/tracerag/tokens, readOnly: true }
        {{- if $server.tls.existingSecret }}
        - { name: tls, mountPath: /etc/tracerag/tls, readOnly: true }
        {{- end }}
        {{- else }}
        - { name: redaction, mountPath: /etc/tracerag/redaction, readOnly: true }
        {{- end }}
        {{- range $context.Values.secrets }}
        - { name: {{ printf "secret-%s" .name }}, mountPath: {{ printf "/etc/tracerag/secrets/%s" .name }}, readOnly: true }
        {{- end }}
        - { name: tmp, mountPath: /tmp }
        {{- if $lake }}
        - { name: lake, mountPath: /var/lib/tracerag }
        {{- end }}
  volumes:
    - name: config
      configMap: { name: {{ printf "%s-%s" (include "tracerag.fullname" $context) .component }} }
    {{- if $isServer }}
    - name: tokens
      secret:
        secretName: {{ required "server.tokens.existingSecret is empty: a server without tokens answers its own machine only; write tokens.json with `tracerag token create`, make a Secret of it and name it" $server.tokens.existingSecret }}
        defaultMode: 0440
    {{- with $server.tls.existingSecret }}
    - name: tls
      secret: { secretName: {{ . | quote }}, defaultMode: 0440 }
    {{- end }}
    {{- else }}
    - name: redaction
      secret:
        secretName: {{ required "redaction.existingSecret is empty: make a Secret with the key of the identifiers' hashes (openssl rand -hex 32) and name it" $context.Values.redaction.existingSecret }}
        defaultMode: 0440
        items: [{ key: {{ $context.Values.redaction.secretKey | quote }}, path: {{ $context.Values.redaction.secretKey | quote }} }]
    {{- end }}
    {{- range $context.Values.secrets }}
    - name: {{ printf "secret-%s" .name }}
      secret: { secretName: {{ .name | quote }}, defaultMode: 0440 }
    {{- end }}
    - name: tmp
      emptyDir: {}
    {{- if $lake }}
    - name: lake
      persistentVolumeClaim: { claimName: {{ include "tracerag.claim" $context }} }
    {{- end }}
  {{- with .values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
