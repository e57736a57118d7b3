DROP TABLE group_members, groups, command_results, invitations, participants, call_events, slots, calls, nodes;
