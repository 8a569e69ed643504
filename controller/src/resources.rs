//! Where the API server serves the kinds that we write.

use arcane_common::api::{
    backfill_request::BackfillRequest, stream_class::StreamClass, streaming_job_template::StreamingJobTemplate,
};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::core::ApiResource;

/// Jobs.
pub fn jobs() -> ApiResource {
    ApiResource::erase::<Job>(&())
}

/// CronJobs.
pub fn cron_jobs() -> ApiResource {
    ApiResource::erase::<CronJob>(&())
}

/// BackfillRequests.
pub fn backfill_requests() -> ApiResource {
    ApiResource::erase::<BackfillRequest>(&())
}

/// StreamingJobTemplates.
pub fn templates() -> ApiResource {
    ApiResource::erase::<StreamingJobTemplate>(&())
}

/// StreamClasses.
pub fn classes() -> ApiResource {
    ApiResource::erase::<StreamClass>(&())
}
