//! The service API in the OpenAPI document: groups, service keys, the audit log.

use serde_json::{Value, json};

use super::{
    history::number,
    operation::{Asker, Operation},
    schemas::Schemas,
};
use crate::{
    domain::{GroupId, Timestamp, UserId},
    gateway::rest::{
        audit::Entries,
        groups::{GroupAnswer, GroupBody, Groups, MemberAnswer, MemberBody, Members},
        service_keys::{KeyBody, Keys, Made},
    },
    wire::ErrorCode,
};

const GROUP: &str = "/api/v1/groups/{groupId}";
const MEMBERS: &str = "/api/v1/groups/{groupId}/members";
const MEMBER: &str = "/api/v1/groups/{groupId}/members/{userId}";
const OF_GROUP: &[(&str, &str)] = &[("groupId", "$request.path.groupId")];
const OF_MEMBER: &[(&str, &str)] = &[("groupId", "$request.path.groupId"), ("userId", "$request.path.userId")];

/// What the application may ask for.
pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut all = groups(schemas);
    all.extend(members(schemas));
    all.extend(keys(schemas));
    all.push(audit(schemas));
    all
}

pub(super) fn paged(operation: Operation) -> Operation {
    let cursor = json!({"type": "string", "pattern": "^([0-9a-f]{2})+$"});
    operation.query("limit", "How many; 50 without.", number(1, 200)).query(
        "cursor",
        "The `nextCursor` of the page before.",
        cursor,
    )
}

fn of_group(operation: Operation, schemas: &mut Schemas) -> Operation {
    operation.path_part("groupId", "The group.", schemas.read::<GroupId>()).by(Asker::Service)
}

fn groups(schemas: &mut Schemas) -> Vec<Operation> {
    let (group, page, change) = (schemas.sent::<GroupAnswer>(), schemas.sent::<Groups>(), schemas.read::<GroupBody>());
    let list = Operation::new("get", "/api/v1/groups", "listGroups", "groups", "List groups").by(Asker::Service);
    let put = of_group(Operation::new("put", GROUP, "putGroup", "groups", "Make or change a group"), schemas)
        .body("What the group is to be. What is not given is taken away.", false, change)
        .answers(201, "It was made.", group.clone())
        .answers(200, "It was there, and is changed.", group.clone());
    let put = [201, 200].into_iter().fold(put, |put, status| {
        put.links(status, "getGroup", "The group.", OF_GROUP)
            .links(status, "putMember", "A member of it.", OF_GROUP)
            .links(status, "listMembers", "Its members.", OF_GROUP)
            .links(status, "deleteGroup", "Its end.", OF_GROUP)
    });
    vec![
        paged(list.answers(200, "A page of the list, in the order of the ids.", page)),
        put,
        of_group(Operation::new("get", GROUP, "getGroup", "groups", "Look at a group"), schemas).answers(
            200,
            "The group.",
            group,
        ),
        of_group(Operation::new("delete", GROUP, "deleteGroup", "groups", "Delete a group"), schemas)
            .says("With it all its members are removed: its open call ends.")
            .answers_nothing(204, "There is no such group, any more or at all."),
    ]
}

fn members(schemas: &mut Schemas) -> Vec<Operation> {
    let user = schemas.read::<UserId>();
    let (member, page, change) =
        (schemas.sent::<MemberAnswer>(), schemas.sent::<Members>(), schemas.read::<MemberBody>());
    let list =
        of_group(Operation::new("get", MEMBERS, "listMembers", "groups", "List the members of a group"), schemas);
    let put = of_group(Operation::new("put", MEMBER, "putMember", "groups", "Add or change a member"), schemas)
        .path_part("userId", "The user.", user.clone())
        .body("What the member is to be.", false, change)
        .answers(201, "They are a member now.", member.clone())
        .answers(200, "They were, and are changed.", member);
    let put = [201, 200].into_iter().fold(put, |put, status| {
        put.links(status, "listMembers", "The members of the group.", OF_GROUP).links(
            status,
            "removeMember",
            "Taking them out.",
            OF_MEMBER,
        )
    });
    let remove = Operation::new("delete", MEMBER, "removeMember", "groups", "Take a member out of a group");
    vec![
        paged(list.answers(200, "A page of the list, in the order of the ids.", page)),
        put,
        of_group(remove, schemas)
            .path_part("userId", "The user.", user)
            .says("Takes them out of the group's open call too.")
            .answers_nothing(204, "They are no member, any more or at all."),
    ]
}

fn keys(schemas: &mut Schemas) -> Vec<Operation> {
    const KEYS: &str = "/api/v1/service-keys";
    let (made, page, new) = (schemas.sent::<Made<'static>>(), schemas.sent::<Keys>(), schemas.read::<KeyBody>());
    let list = Operation::new("get", KEYS, "listServiceKeys", "service keys", "List service keys").by(Asker::Service);
    let id = json!({"type": "string", "format": "uuid"});
    vec![
        Operation::new("post", KEYS, "createServiceKey", "service keys", "Make a service key")
            .says("The key is shown this once; what is stored is its hash. Repeated under one key it is a `conflict` that \
                names the id.")
            .by(Asker::Service)
            .repeatable()
            .body("What the key is for.", true, new)
            .answers(201, "The key.", made)
            .links(201, "revokeServiceKey", "Its end.", &[("id", "$response.body#/id")]),
        paged(list.answers(200, "A page of the list, also keys that are good no more.", page)),
        Operation::new("delete", "/api/v1/service-keys/{id}", "revokeServiceKey", "service keys", "Revoke a service key")
            .says("Every node refuses it within 2 s. It stays in the list.")
            .by(Asker::Service)
            .path_part("id", "The key's id.", id)
            .answers_nothing(204, "It is good no more."),
    ]
}

fn audit(schemas: &mut Schemas) -> Operation {
    let (page, time): (Value, Value) = (schemas.sent::<Entries>(), schemas.read::<Timestamp>());
    let text = || json!({"type": "string", "pattern": "^[^\\u0000]*$"});
    let list = Operation::new("get", "/api/v1/admin/audit", "listAudit", "audit", "Read the audit log")
        .by(Asker::ServiceOrAdmin)
        .query("actor", "The id of a key or user; `bootstrap` is the key of the settings.", text())
        .query("action", "What was done.", text())
        .query("since", "At or after this time.", time.clone())
        .query("until", "Before this time.", time)
        .answers(200, "A page of the acts, newest first.", page)
        .refuses(&[ErrorCode::Invalid]);
    paged(list)
}
