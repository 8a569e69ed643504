//! The reasons that conditions and events give: what each means, and what is to be done about it.
//!
//! The words stand where they are said. What is said of them here is for the reference in `docs`, whose test reads the sources and
//! finds a word that is missing here, or that nobody says any more.

/// A reason of one kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Whose it is.
    pub of: Of,
    /// How it is told.
    pub told: Told,
    /// The word.
    pub word: &'static str,
    /// What it means.
    pub means: &'static str,
    /// What a person does about it.
    pub remedy: &'static str,
}

/// What a reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// A stream, of whatever plugin.
    Stream,
    /// A BackfillRequest.
    BackfillRequest,
    /// A StreamClass.
    StreamClass,
    /// A StreamingJobTemplate.
    StreamingJobTemplate,
}

/// How a reason is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// All is as it is to be.
    Ready,
    /// Nobody has looked yet.
    Unknown,
    /// Something is on its way, or waited for.
    Reconciling,
    /// Somebody has to step in.
    Stalled,
    /// A Job is not what would be made today.
    NotUpToDate,
    /// The last run failed.
    LastRunFailed,
    /// A Job can be made of it.
    Valid,
    /// No Job can be made of it.
    NotValid,
    /// By an event only.
    Event,
}

impl Told {
    /// Where a person reads it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready=True",
            Self::Unknown => "Ready=Unknown",
            Self::Reconciling => "Reconciling=True",
            Self::Stalled => "Stalled=True",
            Self::NotUpToDate => "UpToDate=False",
            Self::LastRunFailed => "LastRunSucceeded=False",
            Self::Valid => "Valid=True",
            Self::NotValid => "Valid=False",
            Self::Event => "an event",
        }
    }
}

use Of::{BackfillRequest, Stream, StreamClass, StreamingJobTemplate};
use Told::{Event, LastRunFailed, NotUpToDate, NotValid, Ready, Reconciling, Stalled, Unknown, Valid};

const fn reason(of: Of, told: Told, word: &'static str, means: &'static str, remedy: &'static str) -> Reason {
    Reason { of, told, word, means, remedy }
}

/// Nothing is to be done.
const NOTHING: &str = "nothing";

/// All of them.
pub const ALL: &[Reason] = &[
    reason(Stream, Ready, "Running", "its streaming Job is in place, and a pod of it runs or is on its way", NOTHING),
    reason(
        Stream,
        Ready,
        "Backfilling",
        "the Job of a backfill is in place; the message names the BackfillRequest",
        NOTHING,
    ),
    reason(Stream, Ready, "Scheduled", "its CronJob is in place and starts runs by the schedule", NOTHING),
    reason(
        Stream,
        Ready,
        "Suspended",
        "its user has paused it; no Job of it runs",
        "set `suspended` to false to resume it",
    ),
    reason(
        Stream,
        Reconciling,
        "StreamClassMissing",
        "its label `arcane/stream-class` names no StreamClass that registers its kind",
        "create the class, or correct or remove the label",
    ),
    reason(
        Stream,
        Reconciling,
        "TemplateMissing",
        "the StreamingJobTemplate that it refers to isn't there, or is in a namespace that Arcane doesn't look into \
         (`--namespace`)",
        "create the template or correct the reference; the stream goes on by itself within a second",
    ),
    reason(
        Stream,
        Reconciling,
        "TemplateForbidden",
        "the template's annotation `arcane/allowed-namespaces` doesn't name the stream's namespace",
        "add the namespace to that annotation, or use another template",
    ),
    reason(
        Stream,
        Reconciling,
        "TemplateInvalid",
        "no Job can be made from the template; the message names the fields",
        "mend the template",
    ),
    reason(
        Stream,
        Reconciling,
        "TemplateWithoutImage",
        "a container of the template has no image",
        "set it in the template",
    ),
    reason(
        Stream,
        Reconciling,
        "WaitingForJob",
        "a Job or CronJob of it, or of an earlier stream of its name, is on its way out; the next one starts when it \
         has gone",
        "wait; `kubectl describe` of that Job tells what holds it, such as a finalizer",
    ),
    reason(
        Stream,
        Reconciling,
        "WaitingForPod",
        "a pod of an earlier Job hasn't ended: two must never write at once; the message names pod and node",
        "wait; if the node is lost, `kubectl delete pod --force` or the taint `node.kubernetes.io/out-of-service` on \
         the node releases it",
    ),
    reason(
        Stream,
        Reconciling,
        "WaitingForRun",
        "a run of its CronJob goes on; what is to come starts after it",
        "wait, or delete that Job",
    ),
    reason(
        Stream,
        Reconciling,
        "PodNotRunning",
        "its Job is in place, but for 15 s no pod of it has run; the message says why: an image, a Secret, no node \
         with room, a program that ends and is tried again",
        "mend what it waits for; a mended template reaches it with a new value of `arcane/restarted-at`",
    ),
    reason(
        Stream,
        Reconciling,
        "BackOff",
        "its streaming Job ended well less than 10 s after its start; it is started again after a pause that doubles \
         up to 5 minutes",
        "see why the program ends: one that streams goes on; what ends by itself belongs on a schedule (`batch`)",
    ),
    reason(
        Stream,
        Reconciling,
        "KindNotKnownYet",
        "an admission plugin of the API server doesn't know the stream's kind yet, which has just been installed",
        "wait half a minute",
    ),
    reason(
        Stream,
        Stalled,
        "InvalidSpec",
        "its spec breaks a rule; the message names each field and the fix",
        "correct the spec and apply it again",
    ),
    reason(
        Stream,
        Stalled,
        "JobRefused",
        "the API server refuses its Job or CronJob: a quota, a policy, the template",
        "mend what the message says; it is tried again by itself, at the latest after 5 minutes",
    ),
    reason(
        Stream,
        Stalled,
        "JobFailed",
        "its Job failed past its `backoffLimit`; the message has the exit code or why the pod never ran",
        "read the log (`kubectl arcane logs`, or `kubectl logs job/NAME`), mend the cause; a changed spec or \
         template lets it go on by itself, else suspend and resume it, or give `arcane/restarted-at` a new value",
    ),
    reason(
        Stream,
        Stalled,
        "FailedBefore",
        "it had failed before this controller came, which knows no more of it",
        "as `JobFailed`",
    ),
    reason(
        Stream,
        NotUpToDate,
        "TemplateChanged",
        "its template or the class's `secretRefs` have changed since its Job was made; it runs on as it is",
        "to take the new one now, give `arcane/restarted-at` a new value",
    ),
    reason(Stream, NotUpToDate, "RollingUpdate", "the same, and it is replaced when its turn comes", NOTHING),
    reason(
        Stream,
        NotUpToDate,
        "RollingUpdateStopped",
        "the same, and the rolling update has stopped, for a stream has failed with the new template",
        "mend that stream, which the class's condition `UpToDate` names, or the template",
    ),
    reason(
        Stream,
        NotUpToDate,
        "CronJobRefused",
        "the API server refuses the CronJob as it is to be; it stays as it was",
        "mend what the message says; it is tried again by itself",
    ),
    reason(
        Stream,
        NotUpToDate,
        "TemplateMissing",
        "a template that the spec names isn't there; what was made before runs on",
        "as above; so with `TemplateForbidden`, `TemplateInvalid` and `TemplateWithoutImage`",
    ),
    reason(
        Stream,
        LastRunFailed,
        "RunFailed",
        "the last run of its CronJob failed; said until one succeeds",
        "read the log of that Job; the next run comes at its time",
    ),
    reason(Stream, Event, "StreamStarted", "its streaming Job was created", NOTHING),
    reason(Stream, Event, "StreamScheduled", "its CronJob was created", NOTHING),
    reason(Stream, Event, "BackfillStarted", "the Job of a backfill was created", NOTHING),
    reason(Stream, Event, "BackfillCompleted", "a backfill has succeeded, and its request says so", NOTHING),
    reason(Stream, Event, "BackfillCancelled", "a BackfillRequest was cancelled; the note says by what", NOTHING),
    reason(
        Stream,
        Event,
        "JobReplaced",
        "its Job makes room for another: the spec or the template has changed, or a restart was asked for",
        NOTHING,
    ),
    reason(Stream, Event, "CronJobSuspended", "its CronJob starts no run while a backfill is done", NOTHING),
    reason(Stream, Event, "CronJobResumed", "its CronJob starts runs again", NOTHING),
    reason(
        Stream,
        Event,
        "CronJobUpdated",
        "its CronJob was brought up to date with spec and template; a run in progress goes on as it is",
        NOTHING,
    ),
    reason(
        BackfillRequest,
        Unknown,
        "NotSeenYet",
        "no controller has seen it yet",
        "see whether one is at work: `kubectl arcane doctor`",
    ),
    reason(BackfillRequest, Reconciling, "Queued", "an older request of its stream is done first", NOTHING),
    reason(
        BackfillRequest,
        Reconciling,
        "StreamSuspended",
        "its stream is suspended; the backfill goes on with the same id when it is resumed",
        "resume the stream",
    ),
    reason(
        BackfillRequest,
        Reconciling,
        "StreamClassMissing",
        "there is no StreamClass of the name in `spec.streamClass`, or its stream's label names none",
        "create the class; or delete the request and create one that names an existing class",
    ),
    reason(
        BackfillRequest,
        Reconciling,
        "StreamClassNotReady",
        "its class isn't ready; the message has what the class says",
        "mend what the class says",
    ),
    reason(
        BackfillRequest,
        Reconciling,
        "StreamMissing",
        "there is no stream of the name in `spec.streamId` and of the class's kind in its namespace",
        "create the stream; or delete the request and create one that names an existing stream",
    ),
    reason(
        BackfillRequest,
        Reconciling,
        "InvalidSpec",
        "the request breaks a rule, as a payload that is too long for an environment variable does; or its stream does",
        "correct what the message names",
    ),
    reason(
        BackfillRequest,
        Reconciling,
        "TemplateMissing",
        "what its stream waits for before the backfill's Job can start",
        "as for the stream",
    ),
    reason(
        BackfillRequest,
        Reconciling,
        "TemplateForbidden",
        "what its stream waits for before the backfill's Job can start",
        "as for the stream",
    ),
    reason(
        BackfillRequest,
        Reconciling,
        "TemplateInvalid",
        "what its stream waits for before the backfill's Job can start",
        "as for the stream",
    ),
    reason(
        BackfillRequest,
        Reconciling,
        "TemplateWithoutImage",
        "what its stream waits for before the backfill's Job can start",
        "as for the stream",
    ),
    reason(
        BackfillRequest,
        Reconciling,
        "WaitingForJob",
        "what its stream waits for before the backfill's Job can start",
        "as for the stream",
    ),
    reason(
        BackfillRequest,
        Reconciling,
        "WaitingForPod",
        "what its stream waits for before the backfill's Job can start",
        "as for the stream",
    ),
    reason(
        BackfillRequest,
        Reconciling,
        "WaitingForRun",
        "what its stream waits for before the backfill's Job can start",
        "as for the stream",
    ),
    reason(
        BackfillRequest,
        Reconciling,
        "KindNotKnownYet",
        "what its stream waits for before the backfill's Job can start",
        "as for the stream",
    ),
    reason(
        BackfillRequest,
        Reconciling,
        "JobRefused",
        "what its stream waits for before the backfill's Job can start",
        "as for the stream",
    ),
    reason(BackfillRequest, Ready, "Running", "its Job does the backfill", NOTHING),
    reason(BackfillRequest, Ready, "Completed", "its Job has succeeded. The end", NOTHING),
    reason(
        BackfillRequest,
        Ready,
        "CompletedBefore",
        "`spec.completed` was true when it was first seen. The end",
        NOTHING,
    ),
    reason(
        BackfillRequest,
        Ready,
        "CancelledByUser",
        "`spec.completed` was set to true while the backfill was open. The end",
        NOTHING,
    ),
    reason(
        BackfillRequest,
        Ready,
        "Superseded",
        "it had failed, and a newer request takes its place. The end",
        NOTHING,
    ),
    reason(BackfillRequest, Ready, "StreamDeleted", "the stream that had accepted it was deleted. The end", NOTHING),
    reason(
        BackfillRequest,
        Ready,
        "StreamRecreated",
        "the stream that had accepted it was deleted, and there is a new one of its name. The end",
        "create another request for the new stream",
    ),
    reason(
        BackfillRequest,
        Stalled,
        "JobFailed",
        "its Job failed past its `backoffLimit`",
        "as for the stream; it runs again with the same id when the stream leaves `Failed`",
    ),
    reason(
        BackfillRequest,
        Stalled,
        "FailedBefore",
        "its stream had failed before this controller came",
        "as for the stream",
    ),
    reason(StreamClass, Ready, "Ready", "its streams are looked after", NOTHING),
    reason(
        StreamClass,
        Ready,
        "StreamSchemaInvalid",
        "its streams are looked after, but `spec.streamSchema` can't be used and judges nobody",
        "correct the schema",
    ),
    reason(
        StreamClass,
        Ready,
        "StatusRefused",
        "its streams are looked after, but their CustomResourceDefinition refuses the status that is written",
        "mend the status schema of the plugin's definition, see [Writing a plugin](../plugins.md#the-status)",
    ),
    reason(
        StreamClass,
        Reconciling,
        "CustomResourceDefinitionMissing",
        "there is no definition of the plural and group that it names",
        "install the plugin's definition, or correct `spec.pluralName` and `spec.apiGroupRef`",
    ),
    reason(
        StreamClass,
        Reconciling,
        "VersionNotServed",
        "the definition doesn't serve `spec.apiVersion`",
        "correct it; the message lists what is served",
    ),
    reason(StreamClass, Reconciling, "Listing", "its streams are being listed", "wait"),
    reason(
        StreamClass,
        Reconciling,
        "AdmissionPending",
        "the webhook's registration has no rule for its kind yet (classes of other API groups only)",
        "wait a moment; else see whether the webhook runs",
    ),
    reason(
        StreamClass,
        Reconciling,
        "Deleting",
        "it is on its way out; its streams are no longer looked after, their Jobs run on",
        NOTHING,
    ),
    reason(
        StreamClass,
        Stalled,
        "KindMismatch",
        "the definition is that of another kind",
        "correct `spec.kindRef` or `spec.pluralName`",
    ),
    reason(
        StreamClass,
        Stalled,
        "NotAStream",
        "it names a kind of Arcane itself, or an API group that can't be a plugin's",
        "correct `spec.kindRef` or `spec.apiGroupRef`",
    ),
    reason(
        StreamClass,
        Stalled,
        "Forbidden",
        "the controller may not read its streams",
        "create the ClusterRole that the message prints",
    ),
    reason(
        StreamClass,
        Stalled,
        "WatchFailed",
        "its streams can't be listed or watched; the message has the API server's words",
        "mend what they say; it is tried again by itself",
    ),
    reason(
        StreamClass,
        NotUpToDate,
        "RollingUpdate",
        "streams are replaced after a change of template or `secretRefs`; the message tells how far that is",
        NOTHING,
    ),
    reason(
        StreamClass,
        NotUpToDate,
        "RollingUpdateStopped",
        "a stream has failed with its new Job, so no other gets one",
        "let the streams that the message names leave `Failed`, or change the template again",
    ),
    reason(
        StreamClass,
        NotUpToDate,
        "TemplateRefused",
        "the API server would refuse Jobs of the changed template, so nobody is replaced",
        "mend the template; its condition `Valid` tells why",
    ),
    reason(
        StreamingJobTemplate,
        Valid,
        "Valid",
        "the API server takes Jobs made from it; the message has warnings, if there are any",
        NOTHING,
    ),
    reason(
        StreamingJobTemplate,
        NotValid,
        "Invalid",
        "no Job can be made from it; the message names the fields",
        "correct them",
    ),
    reason(StreamingJobTemplate, NotValid, "ImageMissing", "a container has no image", "set it"),
    reason(
        StreamingJobTemplate,
        NotValid,
        "JobRefused",
        "the API server refuses a Job made from it",
        "correct what the message says",
    ),
    reason(
        StreamingJobTemplate,
        NotValid,
        "JobForbidden",
        "a quota, a policy or a namespace on its way out forbids a Job made from it",
        "mend what the message says; it is asked about again by itself",
    ),
];
