{{/* Labels that select the pods of a component: (list . "intake"); of all: (list . ""). */}}
{{- define "genflow.labels" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
app.kubernetes.io/name: genflow
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with $component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* What all pods have in common: no rights, and nothing to write to. */}}
{{- define "genflow.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* What all containers have in common. */}}
{{- define "genflow.container" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
name: genflow
image: {{ printf "%s:%s" $root.Values.image.repository ($root.Values.image.tag | default $root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
envFrom:
  - configMapRef: { name: {{ $root.Release.Name }}-settings }
  - secretRef: { name: {{ $root.Release.Name }}-engines, optional: true }
  - secretRef: { name: {{ $root.Release.Name }}-{{ $component }}{{ if eq $component "setup" }}, optional: true{{ end }} }
resources: {{- toYaml (index $root.Values $component).resources | nindent 2 }}
{{- end -}}

{{/* Mounts and volumes of all pods. */}}
{{- define "genflow.mounts" -}}
- { name: files, mountPath: /etc/genflow/files, readOnly: true }
- { name: certificates, mountPath: /etc/genflow/certificates, readOnly: true }
{{- end -}}
{{- define "genflow.volumes" -}}
- name: files
  configMap: { name: {{ .Release.Name }}-files, optional: true }
- name: certificates
  secret: { secretName: {{ .Release.Name }}-certificates, optional: true, defaultMode: 288 } # 0440
{{- end -}}

{{/* Ports and probes of the roles. */}}
{{- define "genflow.probes" -}}
livenessProbe:
  httpGet: { path: /livez, port: metrics }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: metrics }
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}

{{/* A changed setting or file restarts the roles. */}}
{{- define "genflow.checksum" -}}
checksum/settings: {{ list .Values.settings .Values.files | toJson | sha256sum }}
{{- end -}}

{{/* Variables of one role: (list . "worker"). */}}
{{- define "genflow.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "genflow.spread" -}}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- topologyKey: {{ . }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "genflow.labels" $ | nindent 6 }}
{{- end }}
{{- end -}}

{{/* The Service and the PodDisruptionBudget of a role: (list . "intake"). */}}
{{- define "genflow.around" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ $root.Release.Name }}-{{ $role }}
  labels: {{- include "genflow.labels" . | nindent 4 }}
spec:
  clusterIP: None
  selector: {{- include "genflow.labels" . | nindent 4 }}
  ports:
    - { name: metrics, port: 9464, targetPort: metrics }
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $root.Release.Name }}-{{ $role }}
  labels: {{- include "genflow.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "genflow.labels" . | nindent 6 }}
{{- end -}}
