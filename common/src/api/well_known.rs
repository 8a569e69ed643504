//! Every string that others read: each is written here, once.
//!
//! Streaming plugins, their charts, kubectl plugins, dashboards and the older
//! Go operator depend on these. To change one is to break somebody.

/// The API group of the kinds we own.
pub const GROUP: &str = "streaming.sneaksanddata.com";

/// The version in which our kinds are stored.
pub const VERSION: &str = "v1";

/// A version in which older charts still write StreamClasses. Served, never stored.
pub const VERSION_V1BETA1: &str = "v1beta1";

/// `GROUP/VERSION`, as `apiVersion` of our kinds has it.
pub const API_VERSION: &str = "streaming.sneaksanddata.com/v1";

/// The category of all our kinds: `kubectl get arcane`.
pub const CATEGORY: &str = "arcane";

/// Label of Jobs and pods: the stream's name, as the users guide selects by it.
pub const LABEL_STREAM_ID_SHORT: &str = "streamId";

/// Label of Jobs and pods: the stream's name.
pub const LABEL_STREAM_ID: &str = "arcane/stream-id";

/// Label of Jobs and pods: the stream's kind.
pub const LABEL_STREAM_KIND: &str = "arcane/stream-kind";

/// Label of Jobs and pods: `true` for a backfill, `false` for streaming.
pub const LABEL_BACKFILLING: &str = "arcane/backfilling";

/// Label of a stream, set by its user: the StreamClass it belongs to.
pub const LABEL_STREAM_CLASS: &str = "arcane/stream-class";

/// Label of whatever Arcane creates: the tool that manages it.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Our value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "arcane-operator";

/// Label of pods, set by Kubernetes' Job controller: the Job's name. A
/// CronJob's runs read their backfill id from it.
pub const LABEL_JOB_NAME: &str = "job-name";

/// Annotation of a Job: the hash of the stream's spec that it was made from.
pub const ANNOTATION_CONFIGURATION_HASH: &str = "configuration-hash";

/// Annotation of a Job: the stream's `metadata.generation` that it was made from.
pub const ANNOTATION_STREAM_GENERATION: &str = "arcane/stream-generation";

/// Annotation of a Job: the StreamClass that was chosen when it was made.
pub const ANNOTATION_STREAM_CLASS: &str = "arcane/stream-class";

/// Annotation of a Job: its template, as `namespace/name`.
pub const ANNOTATION_TEMPLATE: &str = "arcane/template";

/// Annotation of a Job: the hash of its template and of the class's `secretRefs`.
pub const ANNOTATION_TEMPLATE_HASH: &str = "arcane/template-hash";

/// Annotation of a Job: the template's `ttlSecondsAfterFinished`, which the
/// Job itself gets only after its outcome is recorded.
pub const ANNOTATION_TTL_SECONDS_AFTER_FINISHED: &str = "arcane/ttl-seconds-after-finished";

/// Annotation of a backfill Job: the UID of the BackfillRequest it works for.
pub const ANNOTATION_BACKFILL_REQUEST_UID: &str = "arcane/backfill-request-uid";

/// Annotation of a stream, set by its user: each new value restarts it. On a
/// Job, the value that the stream had when the Job was made.
pub const ANNOTATION_RESTARTED_AT: &str = "arcane/restarted-at";

/// Annotation of a CronJob that we have suspended: when. No other Job of its
/// stream starts for a moment after that.
pub const ANNOTATION_SUSPENDED_AT: &str = "arcane/suspended-at";

/// Annotation of a BackfillRequest: we have written its `spec.completed`, so a
/// later `false` is somebody's reset and starts nothing.
pub const ANNOTATION_COMPLETED_WRITTEN: &str = "arcane/completed-written";

/// Annotation of a StreamClass: `true` makes it the class of the streams of
/// its kind that name none.
pub const ANNOTATION_IS_DEFAULT_CLASS: &str = "arcane/is-default-class";

/// Annotation of a StreamingJobTemplate: the namespaces whose streams may use
/// it, separated by commas.
pub const ANNOTATION_ALLOWED_NAMESPACES: &str = "arcane/allowed-namespaces";

/// Annotation of a stream: its phase, where its plugin's CRD can't hold `status.phase`.
pub const ANNOTATION_PHASE: &str = "arcane/phase";

/// Label of a namespace: what is done about references to what is missing, `Auto`, `Deny` or `Warn`.
pub const LABEL_MISSING_REFERENCES: &str = "arcane/missing-references";

/// The same key where it is read as an annotation.
pub const ANNOTATION_MISSING_REFERENCES: &str = LABEL_MISSING_REFERENCES;

/// What environment variables that only we may set start with.
pub const ENV_PREFIX: &str = "STREAMCONTEXT__";

/// Environment variable of a container: the stream's name.
pub const ENV_STREAM_ID: &str = "STREAMCONTEXT__STREAM_ID";

/// Environment variable of a container: the stream's kind.
pub const ENV_STREAM_KIND: &str = "STREAMCONTEXT__STREAM_KIND";

/// Environment variable of a container: the stream's whole spec as compact JSON.
pub const ENV_SPEC: &str = "STREAMCONTEXT__SPEC";

/// Environment variable of a container: `true` in a backfill and in a run on a schedule, else `false`.
pub const ENV_BACKFILL: &str = "STREAMCONTEXT__BACKFILL";

/// Environment variable of a backfill's container: the request's name; in a run on a schedule that of its Job.
pub const ENV_BACKFILL_ID: &str = "STREAMCONTEXT__BACKFILL_ID";

/// Environment variable of a backfill's container: the request's spec as JSON.
pub const ENV_OVERRIDE: &str = "STREAMCONTEXT__OVERRIDE";

/// Environment variable of a backfill's container: the request's payload as
/// JSON. Set only where there is a payload. (One underscore: plugins read it so.)
pub const ENV_SPEC_OVERRIDE: &str = "STREAMCONTEXT_SPEC_OVERRIDE";

/// Condition type (kstatus): the object does what its spec asks for.
pub const CONDITION_READY: &str = "Ready";

/// Condition type (kstatus): work goes on, or something is waited for.
pub const CONDITION_RECONCILING: &str = "Reconciling";

/// Condition type (kstatus): nothing will happen until somebody steps in.
pub const CONDITION_STALLED: &str = "Stalled";

/// Condition type of a StreamingJobTemplate: a Job can be made from it.
pub const CONDITION_VALID: &str = "Valid";

/// On a ClusterRole: its rules become rights of the controller, which needs them for a plugin's kind of another group.
pub const LABEL_AGGREGATE_TO_CONTROLLER: &str = "arcane/aggregate-to-controller";

/// On a ClusterRole: its rules become rights of the webhook, which reads a plugin's streams (`get`, `list`) to tell whether
/// the stream of a BackfillRequest exists, and who uses what is to be deleted.
pub const LABEL_AGGREGATE_TO_WEBHOOK: &str = "arcane/aggregate-to-webhook";

/// The name of the webhook's ValidatingWebhookConfiguration and MutatingWebhookConfiguration, where none is given.
pub const WEBHOOK_CONFIGURATION: &str = "arcane-operator-webhook";
