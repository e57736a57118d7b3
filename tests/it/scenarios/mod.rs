//! The scenarios of a call that must hold wherever it runs: on one embedded node, and with its people on two nodes.
//!
//! Each is a function of where it runs. Callers are on node 0 and callees on node 1; on a single node both are that one.

pub mod answering;
pub mod reconnecting;
pub mod ringing;
pub mod talking;

use crate::support::{TestCluster, cluster::ClusterBuilder};

/// Where a scenario runs.
#[derive(Clone, Copy)]
pub enum On {
    /// One node on SQLite with the in-process bus.
    Embedded,
    /// Two nodes on PostgreSQL and Redis.
    TwoNodes,
}

impl On {
    /// A cluster of this kind, not started yet.
    pub fn cluster(self) -> ClusterBuilder {
        match self {
            On::Embedded => TestCluster::embedded(),
            On::TwoNodes => TestCluster::two_nodes(),
        }
    }
}

/// One test per scenario.
macro_rules! core_suite {
    ($on:expr) => {
        $crate::scenarios::core_suite! { @tests $on;
            ringing: every_device_of_the_callee_rings_and_the_caller_hears_of_it,
            ringing: a_device_that_connects_while_its_user_is_rung_rings_too,
            ringing: with_nobody_there_the_call_is_missed_when_its_ring_runs_out,
            ringing: a_callee_who_does_not_answer_has_missed_the_call,
            ringing: cancelling_stops_every_ringing_device,
            ringing: a_cancel_that_races_an_accept_has_one_outcome_for_both_sides,
            ringing: starting_again_with_the_same_id_answers_with_the_same_call,
            ringing: a_callee_in_a_call_is_busy_and_does_not_ring,
            ringing: with_call_waiting_a_second_call_rings_during_the_first,
            answering: the_first_accept_wins_and_the_other_devices_hear_accepted_elsewhere,
            answering: of_two_accepts_at_once_exactly_one_wins,
            answering: declining_on_one_device_stops_the_others_and_tells_the_caller_why,
            answering: two_who_call_each_other_at_the_same_moment_are_in_one_call,
            answering: every_command_may_be_repeated,
            answering: an_offer_with_the_start_and_an_answer_with_the_accept_connect_the_call,
            talking: a_call_connects_becomes_active_and_ends_for_both,
            talking: offer_answer_and_twenty_candidates_each_way_arrive_in_order,
            talking: signals_go_to_the_device_they_are_directed_to,
            talking: the_callee_can_hang_up_too,
            talking: a_change_of_microphone_camera_or_screen_is_seen_by_the_other,
            talking: an_ended_call_refuses_commands_and_is_still_there_to_look_at,
            reconnecting: who_drops_comes_back_on_another_node_with_what_was_missed_in_order_and_once,
            reconnecting: signals_sent_meanwhile_are_replayed_in_order,
            reconnecting: who_does_not_come_back_in_time_has_lost_the_connection,
            reconnecting: a_callee_who_drops_while_ringing_comes_back_ringing,
            reconnecting: a_call_moves_to_another_device_of_its_user,
        }
    };
    (@tests $on:expr; $($module:ident: $name:ident,)*) => {
        $(#[tokio::test]
        async fn $name() {
            $crate::scenarios::$module::$name($on).await;
        })*
    };
}
pub(crate) use core_suite;
