//! Webhooks and dead letters in the OpenAPI document.

use serde_json::{Value, json};

use super::{
    operation::{Asker, Operation},
    schemas::Schemas,
    service::paged,
};
use crate::{
    gateway::rest::webhooks::{
        All, ChangeBody, Known, Made, NewBody, Queued, Rotated, SecretBody,
        deliveries::{DeadLetters, Deliveries},
    },
    wire::ErrorCode,
};

const WEBHOOKS: &str = "/api/v1/webhooks";
const WEBHOOK: &str = "/api/v1/webhooks/{webhookId}";
const DEAD: &str = "/api/v1/admin/dead-letters";

fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

fn of_webhook(operation: Operation) -> Operation {
    operation.path_part("webhookId", "The webhook.", uuid())
}

fn operation(method: &'static str, path: String, id: &str, summary: &str) -> Operation {
    Operation::new(method, path, id, "webhooks", summary)
}

/// What the application, or an administrator, may ask for.
pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut all = webhooks(schemas);
    all.extend(life(schemas));
    all.extend(dead_letters(schemas));
    all
}

fn webhooks(schemas: &mut Schemas) -> Vec<Operation> {
    let (list, one, made) = (schemas.sent::<All>(), schemas.sent::<Known>(), schemas.sent::<Made>());
    let (new, change) = (schemas.read::<NewBody>(), schemas.read::<ChangeBody>());
    let create = operation("post", WEBHOOKS.into(), "createWebhook", "Make a webhook")
        .says("The secret is shown this once. Every node tells it of what happens a second later at the latest.")
        .by(Asker::Service)
        .repeatable()
        .body("Where it is to be told of what.", true, new)
        .answers(201, "The webhook.", made)
        .refuses(&[ErrorCode::Conflict]);
    let id: &[(&str, &str)] = &[("webhookId", "$response.body#/webhookId")];
    let create = [
        ("getWebhook", "The webhook."),
        ("changeWebhook", "Changing it."),
        ("testWebhook", "Trying it."),
        ("rotateWebhookSecret", "A new secret."),
        ("listDeliveries", "Its deliveries."),
        ("deleteWebhook", "Its end."),
    ]
    .into_iter()
    .fold(create, |create, (to, says)| create.links(201, to, says, id));
    vec![
        create,
        operation("get", WEBHOOKS.into(), "listWebhooks", "List webhooks").by(Asker::ServiceOrAdmin).answers(
            200,
            "All webhooks.",
            list,
        ),
        of_webhook(operation("get", WEBHOOK.into(), "getWebhook", "Look at a webhook"))
            .by(Asker::ServiceOrAdmin)
            .answers(200, "The webhook.", one.clone()),
        of_webhook(operation("patch", WEBHOOK.into(), "changeWebhook", "Change a webhook"))
            .says("What happens while it is off is not told later; what waited is sent when it is on again.")
            .by(Asker::Service)
            .body("What is to be changed.", false, change)
            .answers(200, "The webhook.", one),
        of_webhook(operation("delete", WEBHOOK.into(), "deleteWebhook", "Delete a webhook"))
            .says("What it was still to be told is not sent.")
            .by(Asker::Service)
            .answers_nothing(204, "There is no such webhook, any more or at all."),
    ]
}

fn life(schemas: &mut Schemas) -> Vec<Operation> {
    let (rotated, queued, page) = (schemas.sent::<Rotated>(), schemas.sent::<Queued>(), schemas.sent::<Deliveries>());
    let secret = schemas.read::<SecretBody>();
    let rotate = operation("post", format!("{WEBHOOK}/secret"), "rotateWebhookSecret", "Give a webhook a new secret");
    let test = operation("post", format!("{WEBHOOK}/test"), "testWebhook", "Try a webhook");
    let list = operation("get", format!("{WEBHOOK}/deliveries"), "listDeliveries", "List the deliveries of a webhook");
    let path = format!("{WEBHOOK}/deliveries/{{deliveryId}}/replay");
    let replay = operation("post", path, "replayDelivery", "Send a delivery again");
    let states = json!({"type": "string", "enum": ["pending", "delivered", "expired", "dead"]});
    vec![
        of_webhook(rotate)
            .says("The one before signs too for 24 hours, so that an endpoint may check by either.")
            .by(Asker::Service)
            .body("The secret, if it is not to be made.", false, secret)
            .answers(200, "The secret.", rotated)
            .refuses(&[ErrorCode::Conflict]),
        of_webhook(test)
            .says("Sends it the event `webhook.test`, whatever its filter.")
            .by(Asker::Service)
            .answers(202, "It is on its way.", queued.clone())
            .refuses(&[ErrorCode::WrongState]),
        paged(of_webhook(list)).by(Asker::ServiceOrAdmin).query("state", "Only those that stand so.", states).answers(
            200,
            "A page of the deliveries, newest first.",
            page,
        ),
        of_webhook(replay)
            .path_part("deliveryId", "The delivery.", uuid())
            .says("Under its own id, in no order with others. Not what is on its way, nor a ring whose time is over.")
            .by(Asker::Service)
            .answers(202, "It is on its way.", queued)
            .refuses(&[ErrorCode::WrongState]),
    ]
}

fn dead_letters(schemas: &mut Schemas) -> Vec<Operation> {
    let (page, queued) = (schemas.sent::<DeadLetters>(), schemas.sent::<Queued>());
    let list = operation("get", DEAD.into(), "listDeadLetters", "List deliveries that were given up");
    let replay = operation("post", format!("{DEAD}/{{deliveryId}}/replay"), "replayDeadLetter", "Send one again");
    let delete = operation("delete", format!("{DEAD}/{{deliveryId}}"), "deleteDeadLetter", "Take one off the list");
    vec![
        paged(list).by(Asker::ServiceOrAdmin).query("webhookId", "Only those of this webhook.", uuid()).answers(
            200,
            "A page of the dead letters, newest first.",
            page,
        ),
        replay
            .path_part("deliveryId", "The delivery.", uuid())
            .by(Asker::ServiceOrAdmin)
            .answers(202, "It is on its way.", queued)
            .refuses(&[ErrorCode::WrongState]),
        delete
            .path_part("deliveryId", "The delivery.", uuid())
            .by(Asker::ServiceOrAdmin)
            .answers_nothing(204, "There is no such dead letter, any more or at all."),
    ]
}
