//! The tables, for diesel: one schema for PostgreSQL and SQLite. The migrations say what each column is for.

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    nodes (id) {
        id -> Text,
        version -> Text,
        address -> Nullable<Text>,
        started_at -> DbTime,
        lease_until -> DbTime,
        bus_up -> Bool,
        sessions -> Nullable<BigInt>,
        sockets -> Nullable<BigInt>,
        calls -> Nullable<BigInt>,
        draining -> Nullable<Bool>,
        degraded -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    calls (id) {
        id -> Text,
        owner_node -> Text,
        epoch -> BigInt,
        seq -> BigInt,
        prev_seq -> BigInt,
        open -> Bool,
        slot -> Nullable<Text>,
        status -> Text,
        call_type -> Text,
        mode -> Text,
        group_id -> Nullable<Text>,
        initiator -> Text,
        is_group -> Bool,
        max_participants -> Integer,
        peak_participants -> Integer,
        created_at -> DbTime,
        started_at -> Nullable<DbTime>,
        ended_at -> Nullable<DbTime>,
        end_reason -> Nullable<Text>,
        ended_by -> Nullable<Text>,
        metadata -> Nullable<Text>,
    }
}

diesel::table! {
    slots (slot) {
        slot -> Text,
        call_id -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    call_events (call_id, seq) {
        call_id -> Text,
        seq -> BigInt,
        at -> DbTime,
        kind -> Text,
        payload -> Text,
        node -> Text,
        epoch -> BigInt,
        command_id -> DbUuid,
        trace -> Nullable<DbUuid>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    participants (call_id, user_id) {
        call_id -> Text,
        user_id -> Text,
        role -> Text,
        status -> Text,
        open -> Bool,
        device_id -> Nullable<Text>,
        ringing_devices -> Text,
        invited_by -> Nullable<Text>,
        invited_at -> DbTime,
        joined_at -> Nullable<DbTime>,
        left_at -> Nullable<DbTime>,
        leave_reason -> Nullable<Text>,
        earlier_stays_ms -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    invitations (call_id, user_id, seq) {
        call_id -> Text,
        user_id -> Text,
        seq -> BigInt,
        invited_by -> Text,
        at -> DbTime,
        deadline -> Nullable<DbTime>,
        outcome -> Text,
        answered_at -> Nullable<DbTime>,
        device_id -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    command_results (command_id) {
        command_id -> DbUuid,
        call_id -> Text,
        seq -> BigInt,
        kind -> Text,
        by_user -> Nullable<Text>,
        outcome -> Nullable<Text>,
        at -> DbTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    groups (id) {
        id -> Text,
        name -> Nullable<Text>,
        metadata -> Nullable<Text>,
        created_at -> DbTime,
        updated_at -> DbTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    group_members (group_id, user_id) {
        group_id -> Text,
        user_id -> Text,
        role -> Text,
        added_at -> DbTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    sweepers (name) {
        name -> Text,
        holder -> Nullable<Text>,
        held_until -> DbTime,
        due_at -> DbTime,
        claimed_at -> Nullable<DbTime>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    sweep_requests (id) {
        id -> DbUuid,
        sweeper -> Text,
        dry_run -> Bool,
        requested_at -> DbTime,
        run -> Nullable<DbUuid>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    sweep_runs (id) {
        id -> DbUuid,
        sweeper -> Text,
        node -> Text,
        by_hand -> Bool,
        dry_run -> Bool,
        runs -> BigInt,
        started_at -> DbTime,
        finished_at -> Nullable<DbTime>,
        found -> BigInt,
        acted -> BigInt,
        failed -> BigInt,
        outcome -> Nullable<Text>,
        note -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    sweep_actions (run, n) {
        run -> DbUuid,
        n -> BigInt,
        call_id -> Text,
        user_id -> Nullable<Text>,
        what -> Text,
        why -> Text,
        age_ms -> Nullable<BigInt>,
        outcome -> Text,
        recording_id -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    service_keys (id) {
        id -> DbUuid,
        name -> Text,
        hash -> Text,
        created_at -> DbTime,
        expires_at -> Nullable<DbTime>,
        revoked_at -> Nullable<DbTime>,
        last_used_at -> Nullable<DbTime>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    livekit_events (id) {
        id -> Text,
        taken_at -> DbTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    audit_log (id) {
        id -> DbUuid,
        at -> DbTime,
        actor_kind -> Text,
        actor -> Text,
        actor_name -> Nullable<Text>,
        action -> Text,
        target_kind -> Text,
        target -> Text,
        user_id -> Nullable<Text>,
        outcome -> Text,
        request_id -> Nullable<Text>,
        node -> Nullable<Text>,
        note -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    quality_reports (call_id, user_id, id) {
        call_id -> Text,
        user_id -> Text,
        id -> DbUuid,
        device_id -> Text,
        at -> DbTime,
        jitter_ms -> Nullable<Double>,
        packet_loss_pct -> Nullable<Double>,
        round_trip_ms -> Nullable<Double>,
        bandwidth_kbps -> Nullable<Double>,
        fps -> Nullable<Double>,
        resolution -> Nullable<Text>,
        codec -> Nullable<Text>,
        ice_state -> Nullable<Text>,
        used_turn -> Nullable<Bool>,
        score -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    recordings (id) {
        id -> Text,
        call_id -> Text,
        created_by -> Text,
        created_at -> DbTime,
        layout -> Text,
        resolution -> Text,
        audio_only -> Bool,
        format -> Text,
        retention_days -> Integer,
        version -> BigInt,
        status -> Text,
        attempts -> Integer,
        attempt_at -> Nullable<DbTime>,
        egress_id -> Nullable<Text>,
        stop_at -> Nullable<DbTime>,
        started_at -> Nullable<DbTime>,
        ended_at -> Nullable<DbTime>,
        file -> Nullable<Text>,
        bytes -> Nullable<BigInt>,
        duration_ms -> Nullable<BigInt>,
        reason -> Nullable<Text>,
        expires_at -> Nullable<DbTime>,
        legal_hold -> Bool,
        public_since -> Nullable<DbTime>,
        password_hash -> Nullable<Text>,
        purge_since -> Nullable<DbTime>,
        purge_failures -> Integer,
        deleted_at -> Nullable<DbTime>,
        file_gone_at -> Nullable<DbTime>,
        told -> Bool,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    recording_parts (user_id, created_at, recording_id) {
        user_id -> Text,
        created_at -> DbTime,
        recording_id -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    webhooks (id) {
        id -> DbUuid,
        url -> Text,
        events -> Text,
        description -> Nullable<Text>,
        enabled -> Bool,
        disabled_reason -> Nullable<Text>,
        secret -> Text,
        old_secrets -> Text,
        created_at -> DbTime,
        updated_at -> DbTime,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::store::types::sql::*;
    webhook_deliveries (id) {
        id -> DbUuid,
        webhook_id -> DbUuid,
        event -> Text,
        lane -> Text,
        pos -> BigInt,
        call_id -> Nullable<Text>,
        user_id -> Nullable<Text>,
        created_at -> DbTime,
        expires_at -> Nullable<DbTime>,
        payload -> Text,
        state -> Text,
        next_at -> DbTime,
        attempts -> Integer,
        attempt_at -> Nullable<DbTime>,
        node -> Nullable<Text>,
        last_status -> Nullable<Integer>,
        last_error -> Nullable<Text>,
        last_answer -> Nullable<Text>,
        settled_at -> Nullable<DbTime>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(calls, slots);
diesel::allow_tables_to_appear_in_same_query!(webhooks, webhook_deliveries);
diesel::joinable!(group_members -> groups (group_id));
diesel::allow_tables_to_appear_in_same_query!(call_events, calls, invitations, nodes, participants);
diesel::allow_tables_to_appear_in_same_query!(groups, group_members);
