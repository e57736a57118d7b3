//! What Redis can do to a bus, and how the bus comes back.

use std::{
    net::{TcpListener, TcpStream},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use carillon::{
    cluster::{
        bus::{Bus, BusError, BusFault, BusHealth, BusLimits},
        bus_redis::{RedisBus, RedisBusConfig},
    },
    domain::ids::NodeId,
    secret::Secret,
};

use crate::support::redis::Instance as RedisServer;

use super::recorder::{Heard, Node, PATIENCE, Recorder, nodes_on, redis_bus, user, wait_until};

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn wait_until_down(bus: &RedisBus) -> BusFault {
    let mut health = bus.watch_health();
    let down = tokio::time::timeout(PATIENCE, health.wait_for(|health| !health.is_up())).await;
    match *down.expect("the bus goes down").unwrap() {
        BusHealth::Down { fault, .. } => fault,
        BusHealth::Up => unreachable!(),
    }
}

/// Both nodes can speak with one another, both ways and through the user's channel.
async fn assert_messages_flow(a: &Node<RedisBus>, b: &Node<RedisBus>, mark: &'static str) {
    let ada = user("ada");
    a.bus.publish_to_node(&b.id, text(mark)).unwrap();
    b.bus.publish_to_node(&a.id, text(mark)).unwrap();
    assert_eq!(a.bus.publish_to_user_counted(&ada, text(mark)).await, Ok(1));
    a.inbox.wait_for_one(&Heard::ToNode(text(mark))).await;
    b.inbox.wait_for_one(&Heard::ToNode(text(mark))).await;
    b.inbox.wait_for_one(&Heard::ToUser(ada, text(mark))).await;
}

fn resubscribed(node: &Node<RedisBus>) -> usize {
    node.inbox.heard().iter().filter(|heard| **heard == Heard::Resubscribed).count()
}

#[tokio::test]
async fn after_redis_was_killed_and_started_empty_all_is_subscribed_again_and_the_inbox_told() {
    let redis = RedisServer::start();
    let nodes = nodes_on(&redis, 2).await;
    let [a, b] = &nodes[..] else { unreachable!() };
    let users: Vec<_> = (0..3000).map(|n| user(&format!("user {n}"))).collect();
    b.bus.subscribe_user(&user("ada")).await.unwrap();
    futures_util::future::join_all(users.iter().map(|user| b.bus.subscribe_user(user))).await;
    assert_messages_flow(a, b, "before").await;
    assert_eq!((resubscribed(a), resubscribed(b)), (0, 0), "the first connection is no reconnect");

    redis.kill();
    wait_until_down(&a.bus).await;
    wait_until_down(&b.bus).await;
    wait_until("publishing to be refused", || a.bus.publish_to_node(&b.id, text("lost")) == Err(BusError::Unavailable))
        .await;
    let asked = Instant::now();
    assert_eq!(a.bus.publish_to_user_counted(&user("ada"), text("lost")).await, Err(BusError::Unavailable));
    assert_eq!(a.bus.online(&users[..1]).await, Err(BusError::Unavailable));
    // A wish that is refused is kept all the same, one that is taken back is not.
    assert_eq!(b.bus.subscribe_user(&user("late")).await, Err(BusError::Unavailable));
    b.bus.unsubscribe_user(&users[0]);
    assert!(asked.elapsed() < Duration::from_millis(500), "nobody waits for a bus known to be down");

    redis.start_again();
    for node in [a, b] {
        node.inbox.wait_for_one(&Heard::Resubscribed).await;
        assert!(node.bus.wait_until_up(PATIENCE).await);
        assert_eq!(node.bus.stats().reconnects.load(Ordering::Relaxed), 1);
    }
    assert_messages_flow(a, b, "after").await;
    assert_eq!(a.bus.publish_to_user_counted(&user("late"), text("you are here")).await, Ok(1));
    b.inbox.wait_for_one(&Heard::ToUser(user("late"), text("you are here"))).await;
    let mut online = vec![true; users.len()];
    online[0] = false;
    assert_eq!(a.bus.online(&users).await, Ok(online));
    assert!(!b.inbox.heard().contains(&Heard::ToNode(text("lost"))), "what was refused must not come later");
    assert_eq!((resubscribed(a), resubscribed(b)), (1, 1));
}

#[tokio::test]
async fn a_redis_that_falls_silent_is_noticed_by_ping_and_recovers() {
    let redis = RedisServer::start();
    let nodes = nodes_on(&redis, 2).await;
    let [a, b] = &nodes[..] else { unreachable!() };
    b.bus.subscribe_user(&user("ada")).await.unwrap();
    redis.pause();
    let paused = Instant::now();
    assert_eq!(wait_until_down(&a.bus).await, BusFault::Silent);
    wait_until_down(&b.bus).await;
    let noticed = paused.elapsed();
    assert!(
        noticed > Duration::from_millis(1500) && noticed < Duration::from_millis(4500),
        "noticed after {noticed:?}"
    );
    wait_until("publishing to be refused", || {
        a.bus.publish_to_user(&user("ada"), text("x")) == Err(BusError::Unavailable)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    redis.resume();
    for node in [a, b] {
        node.inbox.wait_for_one(&Heard::Resubscribed).await;
        assert!(node.bus.wait_until_up(PATIENCE).await);
    }
    wait_until("the server to have dropped the old connections", || {
        redis.ask("PUBSUB NUMSUB carillon:test:user:ada").is_ok_and(|answer| answer.contains(":1\r\n"))
    })
    .await;
    assert_messages_flow(a, b, "after").await;
}

#[tokio::test]
async fn a_cut_subscriber_connection_is_made_again_while_publishing_goes_on() {
    let redis = RedisServer::start();
    let nodes = nodes_on(&redis, 2).await;
    let [a, b] = &nodes[..] else { unreachable!() };
    b.bus.subscribe_user(&user("ada")).await.unwrap();
    for round in 1..=3 {
        assert!(redis.ask("CLIENT KILL TYPE pubsub").unwrap().starts_with(":2"));
        // Never refused: the sending connection was not cut.
        a.bus.publish_to_node(&b.id, text("meanwhile")).unwrap();
        wait_until("both to subscribe again", || resubscribed(a) == round && resubscribed(b) == round).await;
        assert!(a.bus.wait_until_up(PATIENCE).await && b.bus.wait_until_up(PATIENCE).await);
        assert_messages_flow(a, b, ["first", "second", "third"][round - 1]).await;
    }
}

/// A way to the server on which the server's goodbye is never heard: what it closes stays open towards the client.
fn without_goodbye(redis: &RedisServer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, server) = (format!("redis://{}", listener.local_addr().unwrap()), redis.address());
    let carry = |mut from: TcpStream, mut to: TcpStream| {
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            // Held until the test's process ends.
            std::mem::forget((from, to));
        });
    };
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(server) else { continue };
            carry(client.try_clone().unwrap(), server.try_clone().unwrap());
            carry(server, client);
        }
    });
    url
}

#[tokio::test]
async fn zero_is_not_claimed_when_the_own_subscription_was_lost_unnoticed() {
    let redis = RedisServer::start();
    let nodes = nodes_on(&redis, 1).await;
    let (ada, inbox) = (user("ada"), Arc::new(Recorder::default()));
    let id = NodeId::new("behind-proxy").unwrap();
    let bus = redis_bus(&without_goodbye(&redis), &id, BusLimits::default(), inbox.clone());
    assert!(bus.wait_until_up(PATIENCE).await);
    bus.subscribe_user(&ada).await.unwrap();
    assert_eq!(bus.publish_to_user_counted(&ada, text("only me")).await, Ok(0));
    nodes[0].bus.subscribe_user(&ada).await.unwrap();

    // The newest of those that listen.
    let list = redis.ask("CLIENT LIST TYPE pubsub").unwrap();
    let ids = list.lines().filter_map(|line| line.strip_prefix("id=")?.split(' ').next()?.parse::<u64>().ok());
    assert!(redis.ask(&format!("CLIENT KILL ID {}", ids.max().unwrap())).unwrap().starts_with(":1"));
    // Redis counts one, the other node; this node still believes that it is that one itself.
    assert!(bus.health().is_up());
    assert_eq!(bus.publish_to_user_counted(&ada, text("?")).await, Ok(1));
    inbox.wait_for_one(&Heard::Resubscribed).await;
}

#[tokio::test]
async fn a_bus_started_before_redis_connects_when_redis_comes() {
    let redis = RedisServer::start();
    redis.kill();
    let inbox = Arc::new(Recorder::default());
    let id = NodeId::new("early").unwrap();
    let bus = redis_bus(&redis.url(), &id, BusLimits::default(), inbox.clone());
    assert_eq!(bus.subscribe_user(&user("ada")).await, Err(BusError::Unavailable));
    assert!(!bus.wait_until_up(Duration::from_millis(300)).await);
    assert!(matches!(bus.health(), BusHealth::Down { fault: BusFault::Unreachable, .. }));
    redis.start_again();
    assert!(bus.wait_until_up(PATIENCE).await);
    inbox.wait_for_one(&Heard::Resubscribed).await;
    assert_eq!(bus.online(&[user("ada")]).await, Ok(vec![true]));
}

#[tokio::test]
async fn a_frame_of_another_version_is_counted_and_dropped() {
    let redis = RedisServer::start();
    let nodes = nodes_on(&redis, 2).await;
    let [a, b] = &nodes[..] else { unreachable!() };
    redis.ask("PUBLISH carillon:test:node:node-1 \"\\x02whatever\"").unwrap();
    redis.ask("PUBLISH carillon:test:node:node-1 \"\\x01\\xff\"").unwrap();
    a.bus.publish_to_node(&b.id, text("known")).unwrap();
    assert_eq!(b.inbox.wait_for(1).await, [Heard::ToNode(text("known"))]);
    assert_eq!(b.bus.stats().dropped_unknown_version.load(Ordering::Relaxed), 1);
    assert_eq!(b.bus.stats().dropped_malformed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn messages_sent_together_share_a_write() {
    let redis = RedisServer::start();
    let nodes = nodes_on(&redis, 2).await;
    let [a, b] = &nodes[..] else { unreachable!() };
    for _ in 0..5000 {
        a.bus.publish_to_node(&b.id, text("a signal")).unwrap();
    }
    b.inbox.wait_for(5000).await;
    wait_until("all answers", || a.bus.stats().published.load(Ordering::Relaxed) == 5000).await;
    let batches = a.bus.stats().batches.load(Ordering::Relaxed);
    assert!(batches < 1000, "{batches} writes for 5000 messages");
}

#[tokio::test]
async fn wrong_credentials_are_named_and_right_ones_taken() {
    let redis = RedisServer::start();
    assert!(redis.ask("CONFIG SET requirepass s3cret").unwrap().starts_with("+OK"));
    let id = NodeId::new("guest").unwrap();
    for (url, wanted) in [
        (redis.url(), Some(BusFault::Refused)),
        (redis.url().replace("//", "//:wrong@"), Some(BusFault::Refused)),
        (redis.url().replace("//", "//:s3cret@"), None),
        // Speaks TLS to a server that does not.
        (redis.url().replace("redis:", "rediss:"), Some(BusFault::Unreachable)),
    ] {
        let bus = redis_bus(&url, &id, BusLimits::default(), Arc::default());
        let mut health = bus.watch_health();
        let settled = health.wait_for(|h| !matches!(h, BusHealth::Down { fault: BusFault::Starting, .. }));
        let settled = *tokio::time::timeout(PATIENCE, settled).await.expect("the first attempt ends").unwrap();
        match (settled, wanted) {
            (BusHealth::Down { fault, .. }, Some(wanted)) => assert_eq!(fault, wanted, "{url}"),
            (BusHealth::Up, None) => {}
            (seen, _) => panic!("{seen:?} for {url}"),
        }
    }
}

#[tokio::test]
async fn a_url_that_cannot_be_understood_is_refused_without_showing_it() {
    let config = RedisBusConfig {
        url: Secret::new("http://user:s3cret@host"),
        cluster: "test".to_owned(),
        node: NodeId::new("a").unwrap(),
        limits: BusLimits::default(),
    };
    let error = RedisBus::start(config.clone(), Arc::new(Recorder::default())).err().unwrap();
    assert!(!format!("{error} {error:?} {config:?}").contains("s3cret"));
}
