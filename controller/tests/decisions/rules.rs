//! Contract §3, sentence by sentence. Each rule is true of a trial that keeps it, and of all it doesn't speak of.

mod backfills;
mod beginning;
mod changes;
mod failure;
mod ownership;
mod scheduled;
mod single_writer;
mod suspension;
mod telling;

use crate::reading::Trial;

/// A sentence of the contract.
pub struct Rule {
    pub name: &'static str,
    pub holds: fn(&Trial<'_>) -> bool,
}

macro_rules! rules {
    ($($module:ident: $($rule:ident)+;)+) => {
        &[$($(Rule { name: stringify!($rule), holds: $module::$rule },)+)+]
    };
}

pub const RULES: &[Rule] = rules! {
    beginning:
        the_initial_request_is_created_exactly_for_new_streams
        the_initial_request_comes_before_the_phase_and_before_every_job
        the_initial_request_is_named_after_the_streams_uid
        with_nothing_in_the_way_the_job_is_created
        a_stream_with_a_deletion_timestamp_plans_nothing;
    single_writer:
        two_jobs_are_never_asked_for
        no_job_is_created_while_an_unfinished_one_of_the_stream_is_there
        no_job_is_created_while_its_name_is_in_use
        a_refused_job_is_waited_for_and_tried_before_it_is_announced
        the_request_of_a_refused_job_says_so
        what_is_deleted_is_never_created_in_the_same_plan
        a_new_job_needs_known_pods
        a_running_pod_of_an_earlier_job_is_waited_for_by_name
        a_leftover_job_is_waited_for_and_spoken_of
        the_status_that_announces_a_job_comes_right_before_its_creation
        of_two_unfinished_jobs_one_at_most_stays
        pods_are_asked_for_only_where_they_are_not_known
        asking_for_pods_puts_everything_else_off;
    suspension:
        a_suspended_stream_creates_nothing_and_deletes_every_unfinished_job_of_its_own
        a_suspended_stream_keeps_its_finished_jobs
        a_suspended_stream_without_a_job_is_ready_and_suspended
        a_suspended_stream_gets_no_backfill
        a_resumed_stream_goes_on_with_its_open_backfill_else_streams;
    backfills:
        a_request_completes_only_by_its_own_jobs_success
        a_success_is_recorded
        completion_is_recorded_before_spec_completed_is_set
        spec_completed_is_set_once_and_only_once
        a_settled_request_never_runs_again
        a_settled_request_keeps_its_status
        a_request_completed_by_a_user_is_cancelled
        a_request_found_completed_without_status_is_completed
        a_deleted_or_settled_requests_job_goes
        requests_run_one_after_another_oldest_first
        a_failed_request_gives_way_to_a_newer_one
        an_open_request_is_cancelled_only_for_a_reason
        a_request_of_another_uid_never_runs
        a_backfill_is_accepted_before_its_job_is_created
        a_finished_backfill_job_is_deleted_only_for_the_next_backfill
        a_finished_backfill_job_gets_its_ttl_only_after_its_outcome_is_recorded
        a_well_finished_backfill_job_gets_its_ttl
        nothing_else_ever_gets_a_ttl
        a_requests_status_is_written_only_where_it_differs;
    changes:
        a_spec_change_replaces_the_running_job
        a_new_restarted_at_replaces_the_running_job
        metadata_or_suspension_alone_restarts_nothing
        a_template_change_alone_restarts_nothing_and_is_spoken_of
        in_its_turn_an_outdated_job_is_replaced
        out_of_its_turn_an_outdated_job_runs_on_and_is_spoken_of
        a_running_backfill_is_never_rolled
        a_missing_template_stops_nothing_that_runs
        a_missing_template_is_waited_for_with_its_own_words
        what_a_stream_cant_ask_for_touches_no_job
        what_a_stream_cant_ask_for_is_said_in_its_own_words
        a_current_job_of_the_older_operator_is_stamped_and_not_restarted
        a_stale_job_of_the_older_operator_is_replaced_and_not_stamped;
    failure:
        a_streaming_job_that_ended_well_is_started_again
        a_streaming_job_that_ended_at_once_is_given_time
        a_failed_job_makes_the_stream_failed
        a_failed_backfill_keeps_its_request_open
        a_failure_says_what_became_of_the_pod
        a_failure_is_noted_before_it_is_said
        a_failure_while_something_is_wrong_is_not_forgotten
        failed_stays_failed_unless_something_has_changed
        failed_is_left_when_something_has_changed
        a_failed_stream_is_resumed_after_suspension
        only_a_failed_job_makes_a_stream_failed;
    ownership:
        only_own_jobs_are_touched
        a_job_is_deleted_once
        a_job_is_named_after_its_stream_and_role
        a_taken_name_is_never_used;
    scheduled:
        no_second_cron_job_is_created
        a_cron_job_is_for_the_backend_batch_only
        runs_are_started_only_beside_nothing
        no_job_is_created_beside_a_cron_job_that_may_write
        a_backfill_suspends_the_cron_job
        only_a_backfill_suspends_a_cron_job
        the_cron_job_resumes_when_the_backfill_is_over
        the_run_in_progress_is_waited_for_and_spoken_of
        a_run_is_ended_only_and_always_beside_a_job_that_is_wanted
        a_suspended_stream_loses_its_cron_job
        a_backend_switch_deletes_the_cron_job_if_the_job_can_be_made
        a_job_of_the_other_backend_goes_before_the_cron_job_comes
        a_change_updates_the_cron_job_and_ends_no_run
        what_is_up_to_date_is_not_updated
        a_new_restarted_at_replaces_the_cron_job
        only_own_cron_jobs_and_their_runs_are_touched
        a_cron_job_is_named_after_its_stream
        a_cron_job_that_starts_runs_shows_in_the_phase
        a_failing_run_shows_in_a_condition
        a_failing_run_that_was_told_needs_no_pods;
    telling:
        exactly_one_of_ready_reconciling_and_stalled_holds
        every_condition_has_a_camel_case_reason_and_a_sentence
        failed_is_stalled
        ready_means_that_the_wanted_job_is_in_place_or_the_user_has_paused
        a_running_job_shows_in_the_phase
        an_empty_phase_is_kept_only_by_a_new_stream
        the_stream_is_told_of_once
        a_job_without_a_ready_pod_is_looked_into
        what_keeps_a_pod_from_running_is_said
        pods_are_looked_at_ever_less_often;
};
