//! The store: one suite that PostgreSQL and SQLite both pass, and what only one of them can suffer.

pub mod aged;
pub mod backend;
mod cases;
mod cost;
mod postgres_faults;
pub mod scene;
mod sqlite_settings;

/// Runs a case on a runtime of its own; it must end within two minutes.
pub fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(120), case).await }).expect("it ends");
}

macro_rules! conformance {
    ($($case:path as $name:ident;)*) => {
        mod on_sqlite {
            use super::*;
            $(#[test] fn $name() { run($case(backend::Backend::sqlite())); })*
        }
        mod on_postgres {
            use super::*;
            $(#[test] fn $name() { run($case(backend::Backend::postgres())); })*
        }
    };
}

conformance! {
    cases::commits::rebuild as committed_events_rebuild_the_same_call;
    cases::commits::derived_rows as rows_follow_from_the_events;
    cases::commits::stale as a_stale_seq_epoch_or_owner_is_refused_and_writes_nothing;
    cases::commits::ended as nothing_is_written_after_the_end;
    cases::commits::missing as a_commit_to_a_call_that_is_not_there_is_refused;
    cases::commits::used_id as a_new_call_with_an_id_in_use_is_refused_and_leaves_no_slot;
    cases::commits::repeated as a_commit_repeated_with_its_command_id_is_durable_once;
    cases::commits::reused_command as a_command_id_cannot_serve_two_commits;
    cases::commits::malformed as a_commit_whose_events_do_not_follow_its_state_is_not_tried;
    cases::commits::large as a_call_of_two_hundred_people_is_one_commit;
    cases::slots::concurrent as a_hundred_starts_at_once_leave_one_open_call_per_slot;
    cases::slots::freed as the_end_of_a_call_frees_its_slot;
    cases::slots::ends_at_once as a_call_that_ends_as_it_begins_leaves_no_slot;
    cases::batches::poison as a_poison_commit_does_not_harm_the_others_of_its_batch;
    cases::batches::shared as three_hundred_commits_at_once_share_transactions;
    cases::batches::same_call as commits_of_one_call_that_wait_together_go_in_in_order;
    cases::batches::two_stores as two_stores_write_to_one_database_without_loss;
    cases::batches::speed as commits_per_second_are_in_the_thousands;
    cases::ownership::claims as only_an_open_call_of_a_dead_owner_can_be_claimed;
    cases::ownership::prospects as what_a_later_version_wrote_is_found_to_be_beyond_this_one_before_it_is_claimed;
    cases::ownership::handover as a_call_that_is_handed_over_is_taken_once_and_only_where_its_owner_left_it;
    cases::ownership::races as one_of_ten_claims_at_once_wins;
    cases::ownership::leases as a_lease_runs_by_the_databases_clock_and_is_not_renewed_when_it_has_run_out;
    cases::ownership::deaf as a_node_says_for_the_others_whether_its_bus_is_up;
    cases::reads::open_calls as a_user_is_found_in_the_open_calls_they_are_rung_or_engaged_in;
    cases::reads::storm as a_thousand_questions_about_open_calls_at_once_are_answered;
    cases::reads::positions as how_far_calls_have_come_is_read_for_many_at_once;
    cases::reads::absent as what_is_not_there_is_none;
    cases::reads::since as the_events_after_a_seq_are_read_in_order;
    cases::keyed::starts as a_start_with_a_key_is_one_call_and_no_other_node_takes_it_for_its_own;
    cases::keyed::commands as what_is_committed_under_a_key_is_committed_once;
    cases::keyed::outcomes as the_first_outcome_under_a_key_stays;
    cases::keyed::two_owners as a_command_carried_out_by_the_next_owner_is_not_the_commit_of_the_one_before;
    cases::groups::groups as groups_and_members_are_put_read_and_removed;
    cases::groups::open_call as the_open_call_of_a_group_is_found;
    cases::service_keys::keys as service_keys_are_kept_by_hash_listed_and_revoked;
    cases::service_keys::audit as acts_are_recorded_once_and_read_page_by_page;
    cases::sweeps::rings as calls_that_ring_past_their_deadline_are_found;
    cases::sweeps::long as calls_that_connect_or_last_for_too_long_are_found;
    cases::sweeps::engaged as those_engaged_in_open_calls_are_found_and_those_away_for_too_long;
    cases::sweeps::orphans as open_calls_of_dead_owners_are_found_with_their_age;
    cases::sweeps::one_runner as a_sweeper_has_one_runner_until_its_hold_runs_out;
    cases::sweeps::books as what_is_asked_of_sweepers_and_what_they_did_is_on_record;
    cases::livekit_events::taken_once as a_webhook_is_taken_in_once_and_given_back;
    cases::livekit_events::fates as which_calls_are_open_and_for_how_long_others_have_been_over_is_read_for_many;
    cases::old::each_kind as what_is_old_is_counted_and_forgotten_and_nothing_else;
    cases::old::in_batches as what_is_old_is_forgotten_batch_by_batch;
    cases::old::in_doubt as the_record_of_a_command_that_may_be_asked_for_is_kept;
    cases::old::no_scans as nothing_that_is_forgotten_is_looked_for_from_end_to_end;
    cases::migrations::ten_at_once as migrations_are_applied_once_by_ten_at_once;
    cases::migrations::outdated as a_database_without_the_tables_is_refused_with_a_hint;
    cases::migrations::closed as a_closed_store_has_finished_what_waited_and_takes_no_more;
}
