//! What the driver has to know of each plugin.

use arcane_common::template::TemplateShape;
use kube::core::ApiResource;
use serde_json::{Value, json};

pub const GROUP: &str = "streaming.sneaksanddata.com";

/// Every directory of `examples/plugins`.
pub const DIRECTORIES: [&str; 6] = ["sql-server", "parquet", "synapse-link", "rest-api", "json", "pull"];

/// Where a stream says what Arcane reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Flat,
    V1,
    V2,
}

/// The `podFailurePolicy` of a plugin's templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Exit code 2 isn't counted.
    Kept,
    /// It stands where nothing reads it.
    Misplaced,
    Absent,
}

/// A mistake in a stream: what is laid over its manifest (a null stays one), and what its refusal has to say.
pub type Mistake = (&'static str, &'static str);

/// One kind of a plugin, and its stream in the examples.
#[derive(Debug)]
pub struct Plugin {
    pub directory: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub version: &'static str,
    pub class: &'static str,
    pub stream: &'static str,
    pub layout: Layout,
    /// For streaming and for backfills.
    pub templates: [&'static str; 2],
    pub shape: TemplateShape,
    pub ttl: &'static str,
    pub policy: Policy,
    /// Whether the kind's schema has the field.
    pub can_be_suspended: bool,
    pub is_created_suspended: bool,
    /// Without it kubectl drops a null that the manifest says.
    pub is_applied_server_side: bool,
    /// Whether its status knows only the older words.
    pub has_old_words: bool,
    /// The Secrets that its containers get.
    pub secrets: &'static [&'static str],
    /// What its schema lets pass, and the webhook refuses.
    pub mistakes: &'static [Mistake],
}

const SQL_SERVER: Plugin = Plugin {
    directory: "sql-server",
    kind: "SqlServerStream",
    plural: "sql-server-streams",
    version: "v1",
    class: "arcane-stream-sql-server",
    stream: "orders",
    layout: Layout::V1,
    templates: ["standard-job-template", "large-job-template"],
    shape: TemplateShape::Job,
    ttl: "1",
    policy: Policy::Kept,
    can_be_suspended: true,
    is_created_suspended: false,
    is_applied_server_side: false,
    has_old_words: false,
    secrets: &["orders-credentials"],
    mistakes: &[
        // An explicit null is no default: it is the layout without `execution`.
        (r#"{"spec": {"execution": null}}"#, "spec.jobTemplateRef: Required value"),
        (
            r#"{"spec": {"streamConfigurationSecretRef": {"name": ""}}}"#,
            "spec.streamConfigurationSecretRef.name: Required value",
        ),
        (
            r#"{"spec": {"execution": {"streamingBackend": {"changeCapture": {"jobTemplateRef": {"apiGroup": "batch"}}}}}}"#,
            "spec.execution.streamingBackend.changeCapture.jobTemplateRef.apiGroup: Unsupported value: \"batch\"",
        ),
    ],
};

const SQL_SERVER_BETA: Plugin = Plugin {
    kind: "SqlServerStreamBeta",
    plural: "sql-server-streams-beta",
    class: "arcane-stream-sql-server-beta",
    stream: "orders-beta",
    layout: Layout::V2,
    mistakes: &[(
        r#"{"spec": {"execution": {"streamingBackend": {"changeCapture": null}}}}"#,
        "spec.execution.streamingBackend: Required value",
    )],
    ..SQL_SERVER
};

const PARQUET: Plugin = Plugin {
    directory: "parquet",
    kind: "ParquetFilesStream",
    plural: "parquetfilesstreams",
    class: "arcane-stream-parquet-files",
    stream: "readings",
    secrets: &["lake-credentials"],
    mistakes: &[(
        r#"{"spec": {"execution": {"streamingBackend":
            {"batch": {"schedule": "0 * * * *", "jobTemplateRef": {"name": "standard-job-template"}}}}}}"#,
        "spec.execution.streamingBackend: Forbidden",
    )],
    ..SQL_SERVER
};

pub const PARQUET_TABLE: Plugin = Plugin {
    kind: "ParquetTableStream",
    plural: "parquettablestreams",
    class: "arcane-stream-parquet-table",
    ..PARQUET
};

const SYNAPSE_LINK: Plugin = Plugin {
    directory: "synapse-link",
    kind: "SynapseLinkStream",
    plural: "synapselinkstreams",
    class: "arcane-stream-synapse-link",
    stream: "accounts",
    layout: Layout::Flat,
    templates: ["synapse-job-template", "synapse-backfill-job-template"],
    secrets: &["accounts-credentials"],
    mistakes: &[
        (
            r#"{"spec": {"jobTemplateRef": {"name": "synapse-job-template", "kind": "Job"}}}"#,
            "spec.jobTemplateRef.kind: Unsupported value: \"Job\"",
        ),
        (r#"{"spec": {"sourceSecretRef": null}}"#, "spec.sourceSecretRef: Required value"),
    ],
    ..SQL_SERVER
};

const SYNAPSE_LINK_BETA: Plugin = Plugin {
    kind: "SynapseLinkStreamBeta",
    plural: "synapselinkstreamsbeta",
    class: "arcane-stream-synapse-link-beta",
    stream: "accounts-beta",
    layout: Layout::V1,
    mistakes: &[(
        r#"{"spec": {"execution": {"streamingBackend": {"changeCapture": {"jobTemplateRef": {"name": ""}}}}}}"#,
        "spec.execution.streamingBackend.changeCapture.jobTemplateRef.name: Required value",
    )],
    ..SYNAPSE_LINK
};

const REST_API: Plugin = Plugin {
    directory: "rest-api",
    kind: "RestTokenStream",
    plural: "resttokenstreams",
    version: "v1beta1",
    class: "arcane-stream-resttokenstreams",
    stream: "prices",
    layout: Layout::Flat,
    templates: ["rest-job-template", "rest-backfill-job-template"],
    shape: TemplateShape::Legacy,
    ttl: "300",
    policy: Policy::Misplaced,
    secrets: &["prices-credentials"],
    mistakes: &[
        (r#"{"spec": {"credentialSecretRef": {"name": ""}}}"#, "spec.credentialSecretRef.name: Required value"),
        (
            r#"{"spec": {"jobTemplateRef": {"namespace": "no-such-namespace"}}}"#,
            "spec.jobTemplateRef.name: Not found: \"rest-job-template\"",
        ),
    ],
    ..SQL_SERVER
};

pub const REST_KINDS: [Plugin; 4] = [
    REST_API,
    Plugin { kind: "RestLoginStream", plural: "restloginstreams", class: "arcane-stream-restloginstreams", ..REST_API },
    Plugin {
        kind: "RestTokenPagesStream",
        plural: "resttokenpagesstreams",
        class: "arcane-stream-resttokenpagesstreams",
        ..REST_API
    },
    Plugin {
        kind: "RestLoginPagesStream",
        plural: "restloginpagesstreams",
        class: "arcane-stream-restloginpagesstreams",
        ..REST_API
    },
];

const JSON: Plugin = Plugin {
    directory: "json",
    kind: "JsonStream",
    plural: "jsonstreams",
    version: "v1",
    class: "arcane-stream-json",
    stream: "clicks",
    templates: ["json-job-template", "json-backfill-job-template"],
    policy: Policy::Absent,
    can_be_suspended: false,
    has_old_words: true,
    secrets: &["clicks-credentials"],
    mistakes: &[
        (r#"{"spec": {"jobTemplateRef": {"name": ""}}}"#, "spec.jobTemplateRef.name: Required value"),
        (r#"{"spec": {"credentialsSecretRef": null}}"#, "spec.credentialsSecretRef: Required value"),
    ],
    ..REST_API
};

const JSON_ARCHIVE: Plugin = Plugin {
    kind: "JsonArchiveStream",
    plural: "jsonarchivestreams",
    class: "arcane-stream-json-archive",
    stream: "clicks-archive",
    is_applied_server_side: true,
    mistakes: &[(r#"{"spec": {"sourceSecretRef": {"name": ""}}}"#, "spec.sourceSecretRef.name: Required value")],
    ..JSON
};

const PULL: Plugin = Plugin {
    directory: "pull",
    kind: "PullStream",
    plural: "pullstreams",
    class: "arcane-stream-pull",
    stream: "tickets",
    templates: ["pull-job-template", "pull-backfill-job-template"],
    is_created_suspended: true,
    secrets: &["tickets-credentials"],
    mistakes: &[(
        r#"{"spec": {"execution": {"streamingBackend":
                {"changeCapture": null, "batch": {"schedule": "often", "jobTemplateRef": {"name": "pull-job-template"}}}}}}"#,
        "spec.execution.streamingBackend.batch.schedule: Invalid value: \"often\"",
    )],
    ..SQL_SERVER
};

/// The kinds that are taken through their whole lives; the streams of one directory have names of their own.
pub static LIVES: [Plugin; 9] =
    [SQL_SERVER, SQL_SERVER_BETA, PARQUET, SYNAPSE_LINK, SYNAPSE_LINK_BETA, REST_API, JSON, JSON_ARCHIVE, PULL];

/// The kinds of a directory that are taken through their whole lives.
pub fn lives_of(directory: &str) -> Vec<&'static Plugin> {
    let lives: Vec<_> = LIVES.iter().filter(|plugin| plugin.directory == directory).collect();
    assert!(!lives.is_empty(), "no kind of {directory}");
    lives
}

/// The kind of that name, if it is taken through its life.
pub fn plugin(kind: &str) -> &'static Plugin {
    LIVES.iter().find(|plugin| plugin.kind == kind).unwrap_or_else(|| panic!("no kind {kind}"))
}

impl Plugin {
    pub fn resource(&self) -> ApiResource {
        arcane_tests::fixture::streams_of(GROUP, self.version, self.kind, self.plural)
    }

    /// The word of the kind's status for a phase.
    pub fn word(&self, phase: &'static str) -> &'static str {
        match (self.has_old_words, phase) {
            (true, "Pending") => "RESTARTING",
            (true, "Running") => "RUNNING",
            (true, "Backfilling") => "RELOADING",
            (true, "Suspended") => "SUSPENDED",
            (true, "Failed") => "FAILED",
            _ => phase,
        }
    }

    /// The fields below `spec` that lead to the references to templates, for streaming and for backfills.
    pub fn reference_fields(&self) -> [&'static [&'static str]; 2] {
        match self.layout {
            Layout::Flat => [&["jobTemplateRef"], &["backfillJobTemplateRef"]],
            Layout::V1 => [
                &["execution", "streamingBackend", "changeCapture", "jobTemplateRef"],
                &["execution", "backfillJobTemplateRef"],
            ],
            Layout::V2 => [
                &["execution", "streamingBackend", "changeCapture", "jobTemplateRef"],
                &["execution", "streamingBackend", "changeCapture", "backfillJobTemplateRef"],
            ],
        }
    }

    /// A patch that suspends or resumes a stream of this kind.
    pub fn suspension(&self, suspended: bool) -> Value {
        match self.layout {
            Layout::Flat => json!({"spec": {"suspended": suspended}}),
            Layout::V1 | Layout::V2 => json!({"spec": {"execution": {"suspended": suspended}}}),
        }
    }

    /// A patch of a template's Job.
    pub fn patch_of_job(&self, job_spec: Value) -> Value {
        match self.shape {
            TemplateShape::JobSpec => json!({"spec": job_spec}),
            TemplateShape::Job => json!({"spec": {"spec": job_spec}}),
            TemplateShape::Legacy => json!({"spec": {"template": {"spec": job_spec}}}),
        }
    }
}

/// A merge patch of `spec` that says this at a place.
pub fn at(fields: &[&str], value: Value) -> Value {
    let inner = fields.iter().rev().fold(value, |inner, field| json!({*field: inner}));
    json!({"spec": inner})
}
