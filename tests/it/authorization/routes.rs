//! Who may ask for what over REST: every route there is, by everybody who may stand to the call, the group or the server
//! in some way.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::{App, HttpRequest, http::Method, test, web};
use carillon::gateway::rest;
use serde_json::{Value, json};

use super::{Told, assert_rule, promote, rule, said};
use crate::support::{TestCluster, moves::id_of};

/// Rows: routes, and below some of them what they are asked with. Columns: without credentials; a stranger; a member of
/// the group who is not in its call; an admin of the group who is not; a participant; the host; a user whose token has the
/// role `admin`; who shows a service key. `POST /api/v1/calls/{callId}/{action}` stands for the commands, which have a
/// table of their own. There is no media server, and so no recording: whose they are, tests/it/recordings shows.
const ROUTES: &str = "
                                                     nobody          stranger        member          group_admin     participant     host            admin           service
GET:/livez                                           ok              ok              ok              ok              ok              ok              ok              ok
GET:/readyz                                          ok              ok              ok              ok              ok              ok              ok              ok
GET:/metrics                                         ok              ok              ok              ok              ok              ok              ok              ok
GET:/api/v1/calls                                    unauthenticated ok              ok              ok              ok              ok              ok              unauthenticated
GET:/api/v1/calls?groupId=team                       unauthenticated not_found       ok              ok              ok              ok              ok              unauthenticated
GET:/api/v1/calls/active                             unauthenticated ok              ok              ok              ok              ok              ok              unauthenticated
GET:/api/v1/calls/stats                              unauthenticated ok              ok              ok              ok              ok              ok              unauthenticated
GET:/api/v1/calls/{callId}                           unauthenticated not_found       ok              ok              ok              ok              not_found       unauthenticated
GET:/api/v1/calls/{callId}/participants              unauthenticated not_found       ok              ok              ok              ok              not_found       unauthenticated
GET:/api/v1/calls/{callId}/timeline                  unauthenticated not_found       not_found       not_found       ok              ok              ok              ok
GET:/api/v1/calls/{callId}/quality                   unauthenticated not_found       not_found       not_found       ok              ok              ok              ok
POST:/api/v1/calls/{callId}/quality                  unauthenticated not_found       not_found       not_found       ok              ok              not_found       unauthenticated
POST:/api/v1/calls/{callId}/{action}                 unauthenticated not_found       ok              ok              ok              ok              not_found       unauthenticated
PATCH:/api/v1/calls/{callId}/participants/{userId}   unauthenticated not_found       not_participant not_participant forbidden       ok              not_found       unauthenticated
POST:/api/v1/calls/{callId}/recording                unauthenticated not_found       not_participant not_participant forbidden       media_unavailable not_found       unauthenticated
DELETE:/api/v1/calls/{callId}/recording              unauthenticated not_found       not_participant not_participant forbidden       wrong_state     not_found       unauthenticated
GET:/api/v1/calls/{callId}/recording                 unauthenticated not_found       not_found       not_found       not_found       not_found       not_found       unauthenticated
GET:/api/v1/recordings                               unauthenticated ok              ok              ok              ok              ok              ok              unauthenticated
GET:/api/v1/recordings/{recordingId}                 unauthenticated not_found       not_found       not_found       not_found       not_found       not_found       unauthenticated
PATCH:/api/v1/recordings/{recordingId}               unauthenticated not_found       not_found       not_found       not_found       not_found       not_found       unauthenticated
DELETE:/api/v1/recordings/{recordingId}              unauthenticated not_found       not_found       not_found       not_found       not_found       not_found       unauthenticated
GET:/api/v1/recordings/{recordingId}/download        unauthenticated not_found       not_found       not_found       not_found       not_found       not_found       unauthenticated
GET:/api/v1/ice-servers                              unauthenticated ok              ok              ok              ok              ok              ok              unauthenticated
POST:/api/v1/livekit/webhook                         media_unavailable media_unavailable media_unavailable media_unavailable media_unavailable media_unavailable media_unavailable media_unavailable
GET:/api/v1/openapi.json                             ok              ok              ok              ok              ok              ok              ok              ok
GET:/api/v1/asyncapi.json                            ok              ok              ok              ok              ok              ok              ok              ok
GET:/api/v1/groups                                   unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
PUT:/api/v1/groups/{groupId}                         unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
GET:/api/v1/groups/{groupId}                         unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
GET:/api/v1/groups/{groupId}/members                 unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
PUT:/api/v1/groups/{groupId}/members/{userId}        unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
DELETE:/api/v1/groups/{groupId}/members/{userId}     unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
DELETE:/api/v1/groups/{groupId}                      unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
POST:/api/v1/service-keys                            unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
GET:/api/v1/service-keys                             unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
DELETE:/api/v1/service-keys/{id}                     unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
GET:/api/v1/admin/audit                              unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
POST:/api/v1/webhooks                                unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
GET:/api/v1/webhooks                                 unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
GET:/api/v1/webhooks/{webhookId}                     unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
PATCH:/api/v1/webhooks/{webhookId}                   unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
POST:/api/v1/webhooks/{webhookId}/secret             unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
POST:/api/v1/webhooks/{webhookId}/test               unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
GET:/api/v1/webhooks/{webhookId}/deliveries          unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
POST:/api/v1/webhooks/{webhookId}/deliveries/{deliveryId}/replay unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated not_found
DELETE:/api/v1/webhooks/{webhookId}                  unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated unauthenticated ok
GET:/api/v1/admin/dead-letters                       unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
POST:/api/v1/admin/dead-letters/{deliveryId}/replay  unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       not_found       not_found
DELETE:/api/v1/admin/dead-letters/{deliveryId}       unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
GET:/api/v1/admin/nodes                              unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
GET:/api/v1/admin/calls                              unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
GET:/api/v1/admin/calls/{callId}                     unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
GET:/api/v1/admin/users/{userId}                     unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
GET:/api/v1/admin/sweeps                             unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
GET:/api/v1/admin/sweeps/runs                        unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
GET:/api/v1/admin/sweeps/runs/{runId}                unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       not_found       not_found
GET:/api/v1/admin/sweeps/requests/{requestId}        unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       not_found       not_found
POST:/api/v1/admin/sweeps/{name}                     unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
POST:/api/v1/admin/users/{userId}/disconnect         unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              ok
POST:/api/v1/admin/nodes/{nodeId}/drain              unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       conflict        conflict
POST:/api/v1/admin/calls/{callId}/end                unauthenticated forbidden       forbidden       forbidden       forbidden       forbidden       ok              already_ended
POST:/api/v1/calls                                   unauthenticated ok              ok              ok              ok              ok              ok              unauthenticated
";

/// Names no run and no request.
const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

fn body(route: &str) -> Option<Value> {
    Some(match route {
        "POST:/api/v1/calls" => json!({"calleeIds": ["judy"]}),
        "POST:/api/v1/calls/{callId}/quality" => json!({"jitterMs": 5}),
        "PATCH:/api/v1/calls/{callId}/participants/{userId}" => json!({"role": "participant"}),
        "PATCH:/api/v1/recordings/{recordingId}" => json!({"retentionDays": 30}),
        "POST:/api/v1/service-keys" => json!({"name": "another"}),
        "POST:/api/v1/webhooks" => json!({"url": "https://hooks.invalid/"}),
        _ if route.starts_with("PUT:") => json!({}),
        _ => return None,
    })
}

async fn seen() -> Told {
    let cluster = TestCluster::embedded().start().await;
    let members = ["alice", "carol", "gina", "adam"];
    cluster.group("team", &members).await;
    cluster.group("spare", &["gina"]).await;
    promote(&cluster, "team", &["adam"]).await;
    let (alice, carol) = (cluster.connect(0, "alice", "rest").await, cluster.connect(0, "carol", "rest").await);
    let call = id_of(&alice.start_group("team", false).await);
    carol.act("call:join", &call).await;
    let http = cluster.http(0);
    let key = http.service("POST", "/api/v1/service-keys", Some(json!({"name": "one"}))).await;
    cluster.realm().canaries.forbid(key.body["key"].as_str().unwrap());
    let hook = http.service("POST", "/api/v1/webhooks", Some(json!({"url": "https://hooks.invalid/"}))).await;
    cluster.realm().canaries.forbid(hook.body["secret"].as_str().unwrap());
    let admin = cluster.realm().token_with(&json!({"sub": "ann", "exp": 4_000_000_000_u64, "role": "admin"}));
    let token = |who: &str| match who {
        "nobody" => None,
        "admin" => Some(admin.clone()),
        "service" => Some(cluster.realm().service_key.clone()),
        "stranger" => Some(cluster.token("hank")),
        "member" => Some(cluster.token("gina")),
        "group_admin" => Some(cluster.token("adam")),
        "participant" => Some(cluster.token("carol")),
        _ => Some(cluster.token("alice")),
    };
    let nodes = http.service("GET", "/api/v1/admin/nodes", None).await;
    let node = nodes.body["answeredBy"].as_str().unwrap().to_owned();
    let (routes, columns, _) = rule(ROUTES);
    let mut seen = Told::new();
    for route in &routes {
        let (method, path) = route.split_once(':').unwrap();
        let path = path.replace("{callId}", &call).replace("{groupId}", "spare").replace("{action}", "token");
        // Who is sent away is nobody whose socket the test still needs.
        let whom = if path.ends_with("/disconnect") { "nobody" } else { "carol" };
        let path = path.replace("{userId}", whom).replace("{id}", key.body["id"].as_str().unwrap());
        let path = path.replace("{nodeId}", &node).replace("{name}", "stale_ringing");
        let path = path.replace("{runId}", UNKNOWN).replace("{requestId}", UNKNOWN);
        let path = path.replace("{webhookId}", hook.body["webhookId"].as_str().unwrap());
        let path = path.replace("{deliveryId}", "019a0000-0000-7000-8000-000000000000");
        for who in &columns {
            let answer = http.request(method, &path, token(who).as_deref(), body(route)).await.unwrap();
            if let Some(key) = answer.body["key"].as_str().or(answer.body["secret"].as_str()) {
                cluster.realm().canaries.forbid(key);
            }
            // There is no media server here.
            assert!(answer.status < 500 || answer.code() == "media_unavailable", "{route} by {who}: {answer:?}");
            seen.insert((route.clone(), who.clone()), said(&answer));
        }
    }
    seen
}

#[tokio::test]
async fn each_may_ask_for_what_the_table_of_routes_says() {
    assert_rule(&rule(ROUTES).2, &seen().await, "routes");
}

/// The patterns that the framework has been given, from the way it shows them.
async fn patterns() -> BTreeSet<String> {
    let shown = |http: HttpRequest| async move { format!("{:?}", http.resource_map()) };
    let app = App::new().configure(rest::routes).default_service(web::to(shown));
    let app = test::init_service(app).await;
    let shown = test::call_and_read_body(&app, test::TestRequest::get().uri("/shown").to_request()).await;
    let shown = String::from_utf8(shown.to_vec()).unwrap();
    shown.split("Single(\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

/// Every route, found by asking for each pattern in each way: what is there is not refused for its method.
async fn routes_there_are() -> BTreeSet<String> {
    let app = test::init_service(App::new().configure(rest::routes)).await;
    let mut found = BTreeSet::new();
    for pattern in patterns().await {
        for method in METHODS {
            for path in [pattern.clone(), format!("/api/v1{pattern}")] {
                let concrete = path.replace(['{', '}'], "");
                if !concrete.starts_with('/') {
                    continue;
                }
                let asked = test::TestRequest::with_uri(&concrete).method(method.clone()).to_request();
                let answer = test::call_service(&app, asked).await;
                // Of a route that is not there by this method, but whose last word is taken for an action.
                let other = !path.contains("{action}") && answer.request().match_info().get("action").is_some();
                // A handler that was reached finds nothing of what it needs, and says 500.
                if !other && !matches!(answer.status().as_u16(), 404 | 405) {
                    found.insert(format!("{method}:{path}"));
                }
            }
        }
    }
    found
}

#[actix_web::test]
async fn every_route_has_a_row() {
    let there = routes_there_are().await;
    assert!(there.len() > 20, "{there:?}");
    let (rows, _, _) = rule(ROUTES);
    let rows: BTreeSet<String> = rows.iter().map(|row| row.split('?').next().unwrap().to_owned()).collect();
    let missing: Vec<&String> = there.difference(&rows).collect();
    let gone: Vec<&String> = rows.difference(&there).collect();
    assert!(missing.is_empty() && gone.is_empty(), "who may ask? ROUTES is to say: {missing:?}; not there: {gone:?}");
    // What the table says of a route it says of everybody.
    let told: BTreeMap<_, _> = rule(ROUTES).2;
    assert!(told.values().all(|code| code.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
}
