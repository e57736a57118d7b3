//! What every bus does. Each behaviour is written once and run on both.

use std::time::Duration;

use bytes::Bytes;
use carillon::cluster::bus::{BusError, BusLimits, MAX_MESSAGE_BYTES};
use futures_util::future::join_all;

use super::recorder::{Factory, Heard, InMemory, Nodes, OnRedis, user};

macro_rules! on_both {
    ($($behaviour:ident,)*) => {
        mod memory {
            $(#[tokio::test] async fn $behaviour() { super::$behaviour::<super::InMemory>().await })*
        }
        mod redis {
            $(#[tokio::test] async fn $behaviour() { super::$behaviour::<super::OnRedis>().await })*
        }
    };
}

on_both! {
    what_is_sent_to_a_node_reaches_that_node_alone,
    a_node_hears_what_it_sends_to_itself,
    a_message_to_a_user_reaches_every_other_subscribed_node_and_not_its_sender,
    messages_of_one_channel_keep_their_order,
    a_subscription_is_in_force_when_it_is_confirmed,
    many_subscriptions_at_once_are_all_confirmed,
    subscribing_twice_is_subscribing_once,
    nothing_arrives_after_a_subscription_is_taken_back,
    a_subscription_taken_back_can_be_made_again,
    the_count_is_of_other_nodes,
    users_are_online_while_any_node_is_subscribed_to_them,
    messages_are_opaque_bytes,
    too_much_is_refused_and_not_buffered,
    a_message_over_the_bound_is_refused,
    a_panic_of_the_inbox_costs_one_message,
    a_closed_bus_refuses_everything_and_its_users_go_offline,
    what_was_accepted_before_a_shutdown_is_still_sent,
}

async fn nodes<F: Factory>(count: usize) -> Nodes {
    F::make(count, BusLimits::default()).await
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Comes after everything sent before it on the way from `from` to `to`, so that what is absent then stays absent.
async fn fence(cluster: &Nodes, from: usize, to: usize) {
    let mark = Bytes::from(format!("fence {}", cluster.nodes[to].inbox.heard().len()));
    cluster.nodes[from].bus.publish_to_node(&cluster.nodes[to].id, mark.clone()).unwrap();
    cluster.nodes[to].inbox.wait_for_one(&Heard::ToNode(mark)).await;
}

fn without_fences(heard: Vec<Heard>) -> Vec<Heard> {
    heard.into_iter().filter(|heard| !matches!(heard, Heard::ToNode(mark) if mark.starts_with(b"fence"))).collect()
}

async fn what_is_sent_to_a_node_reaches_that_node_alone<F: Factory>() {
    let cluster = nodes::<F>(3).await;
    let [a, b, c] = &cluster.nodes[..] else { unreachable!() };
    a.bus.publish_to_node(&b.id, text("to b")).unwrap();
    fence(&cluster, 0, 1).await;
    fence(&cluster, 0, 2).await;
    assert_eq!(without_fences(b.inbox.heard()), [Heard::ToNode(text("to b"))]);
    assert_eq!(without_fences(c.inbox.heard()), []);
    assert_eq!(a.inbox.heard(), []);
}

async fn a_node_hears_what_it_sends_to_itself<F: Factory>() {
    let cluster = nodes::<F>(1).await;
    let a = &cluster.nodes[0];
    a.bus.publish_to_node(&a.id, text("to myself")).unwrap();
    assert_eq!(a.inbox.wait_for(1).await, [Heard::ToNode(text("to myself"))]);
}

async fn a_message_to_a_user_reaches_every_other_subscribed_node_and_not_its_sender<F: Factory>() {
    let cluster = nodes::<F>(4).await;
    let ada = user("ada");
    for node in &cluster.nodes[..3] {
        node.bus.subscribe_user(&ada).await.unwrap();
    }
    cluster.nodes[0].bus.publish_to_user(&ada, text("hello")).unwrap();
    for to in 0..4 {
        fence(&cluster, 0, to).await;
        let wanted = if to == 1 || to == 2 { vec![Heard::ToUser(ada.clone(), text("hello"))] } else { vec![] };
        assert_eq!(without_fences(cluster.nodes[to].inbox.heard()), wanted, "node {to}");
    }
}

async fn messages_of_one_channel_keep_their_order<F: Factory>() {
    const COUNT: usize = 4000;
    let cluster = nodes::<F>(2).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let users = [user("ada"), user("bob"), user("c e")];
    for user in &users {
        b.bus.subscribe_user(user).await.unwrap();
    }
    for n in 0..COUNT {
        let message = Bytes::from(n.to_string());
        match n % 4 {
            3 => a.bus.publish_to_node(&b.id, message).unwrap(),
            which => a.bus.publish_to_user(&users[which], message).unwrap(),
        }
        if n % 97 == 0 {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
    let heard = b.inbox.wait_for(COUNT).await;
    for which in 0..4 {
        let numbers: Vec<usize> = heard
            .iter()
            .filter_map(|heard| match heard {
                Heard::ToNode(message) if which == 3 => Some(message),
                Heard::ToUser(user, message) if users.get(which) == Some(user) => Some(message),
                _ => None,
            })
            .map(|message| str::from_utf8(message).unwrap().parse().unwrap())
            .collect();
        assert_eq!(numbers, (0..COUNT).filter(|n| n % 4 == which).collect::<Vec<_>>());
    }
}

async fn a_subscription_is_in_force_when_it_is_confirmed<F: Factory>() {
    let cluster = nodes::<F>(2).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    for n in 0..50 {
        let someone = user(&format!("user {n}"));
        b.bus.subscribe_user(&someone).await.unwrap();
        assert_eq!(a.bus.publish_to_user_counted(&someone, text("now")).await, Ok(1));
    }
    assert_eq!(b.inbox.wait_for(50).await.len(), 50);
}

async fn many_subscriptions_at_once_are_all_confirmed<F: Factory>() {
    let cluster = nodes::<F>(2).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let users: Vec<_> = (0..2500).map(|n| user(&format!("user {n}"))).collect();
    let outcomes = join_all(users.iter().map(|user| b.bus.subscribe_user(user))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(a.bus.online(&users).await, Ok(vec![true; users.len()]));
    assert_eq!(a.bus.publish_to_user_counted(&users[2499], text("you too")).await, Ok(1));
    b.inbox.wait_for_one(&Heard::ToUser(users[2499].clone(), text("you too"))).await;
}

async fn subscribing_twice_is_subscribing_once<F: Factory>() {
    let cluster = nodes::<F>(2).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let ada = user("ada");
    let both = join_all([b.bus.subscribe_user(&ada), b.bus.subscribe_user(&ada)]).await;
    assert_eq!(both, [Ok(()), Ok(())]);
    b.bus.subscribe_user(&ada).await.unwrap();
    assert_eq!(a.bus.publish_to_user_counted(&ada, text("once")).await, Ok(1));
    fence(&cluster, 0, 1).await;
    assert_eq!(without_fences(b.inbox.heard()), [Heard::ToUser(ada.clone(), text("once"))]);
    b.bus.unsubscribe_user(&ada);
    a.bus.publish_to_user(&ada, text("gone")).unwrap();
    fence(&cluster, 0, 1).await;
    assert_eq!(without_fences(b.inbox.heard()).len(), 1);
}

async fn nothing_arrives_after_a_subscription_is_taken_back<F: Factory>() {
    let cluster = nodes::<F>(2).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let (ada, bob) = (user("ada"), user("bob"));
    b.bus.subscribe_user(&ada).await.unwrap();
    b.bus.subscribe_user(&bob).await.unwrap();
    b.bus.unsubscribe_user(&ada);
    b.bus.unsubscribe_user(&user("never subscribed"));
    for n in 0..100 {
        a.bus.publish_to_user(&ada, Bytes::from(n.to_string())).unwrap();
    }
    a.bus.publish_to_user(&bob, text("still here")).unwrap();
    fence(&cluster, 0, 1).await;
    assert_eq!(without_fences(b.inbox.heard()), [Heard::ToUser(bob, text("still here"))]);
    wait_for_count(&cluster, 0, "ada", 0).await;
}

/// Waits until a counted publish gives this count: taking back is not confirmed to anybody.
async fn wait_for_count(cluster: &Nodes, from: usize, name: &str, wanted: u64) {
    for _ in 0..500 {
        if cluster.nodes[from].bus.publish_to_user_counted(&user(name), text("?")).await == Ok(wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the count for {name} never became {wanted}");
}

async fn a_subscription_taken_back_can_be_made_again<F: Factory>() {
    let cluster = nodes::<F>(2).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let ada = user("ada");
    for round in 0..100 {
        b.bus.subscribe_user(&ada).await.unwrap();
        let message = Bytes::from(round.to_string());
        assert_eq!(a.bus.publish_to_user_counted(&ada, message.clone()).await, Ok(1), "round {round}");
        b.inbox.wait_for_one(&Heard::ToUser(ada.clone(), message)).await;
        b.bus.unsubscribe_user(&ada);
        if round % 2 == 0 {
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    }
}

async fn the_count_is_of_other_nodes<F: Factory>() {
    let cluster = nodes::<F>(3).await;
    let [a, b, c] = &cluster.nodes[..] else { unreachable!() };
    let ada = user("ada");
    assert_eq!(a.bus.publish_to_user_counted(&ada, text("nobody")).await, Ok(0));
    a.bus.subscribe_user(&ada).await.unwrap();
    assert_eq!(a.bus.publish_to_user_counted(&ada, text("only me")).await, Ok(0));
    assert_eq!(b.bus.publish_to_user_counted(&ada, text("one")).await, Ok(1));
    b.bus.subscribe_user(&ada).await.unwrap();
    c.bus.subscribe_user(&ada).await.unwrap();
    assert_eq!(a.bus.publish_to_user_counted(&ada, text("two")).await, Ok(2));
    let several = join_all((0..20).map(|_| a.bus.publish_to_user_counted(&ada, text("many")))).await;
    assert_eq!(several, vec![Ok(2); 20]);
    b.bus.unsubscribe_user(&ada);
    c.bus.unsubscribe_user(&ada);
    wait_for_count(&cluster, 0, "ada", 0).await;
}

async fn users_are_online_while_any_node_is_subscribed_to_them<F: Factory>() {
    let cluster = nodes::<F>(2).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let all = [user("here"), user("there"), user("nowhere"), user("here")];
    a.bus.subscribe_user(&all[0]).await.unwrap();
    b.bus.subscribe_user(&all[1]).await.unwrap();
    for node in [a, b] {
        assert_eq!(node.bus.online(&all).await, Ok(vec![true, true, false, true]));
    }
    assert_eq!(a.bus.online(&[]).await, Ok(vec![]));
    b.bus.unsubscribe_user(&all[1]);
    for _ in 0..500 {
        if a.bus.online(&all[1..2]).await == Ok(vec![false]) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("a user nobody is subscribed to stays online");
}

async fn messages_are_opaque_bytes<F: Factory>() {
    let cluster = nodes::<F>(2).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let ada = user("Ada Lovelace: *?[ü]\u{1F514}");
    b.bus.subscribe_user(&ada).await.unwrap();
    let every_byte: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..200 * 1024).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let messages: Vec<Bytes> = vec![
        Bytes::new(),
        Bytes::from_static(b"\0"),
        Bytes::from_static(b"\r\n$5\r\nhello\r\n"),
        every_byte.into(),
        large.into(),
        vec![0xff; MAX_MESSAGE_BYTES].into(),
        text("after"),
    ];
    for message in &messages {
        a.bus.publish_to_user(&ada, message.clone()).unwrap();
        a.bus.publish_to_node(&b.id, message.clone()).unwrap();
    }
    let heard = b.inbox.wait_for(messages.len() * 2).await;
    let to_user: Vec<_> = heard.iter().filter_map(|h| matches!(h, Heard::ToUser(..)).then_some(h.clone())).collect();
    let to_node: Vec<_> = heard.iter().filter_map(|h| matches!(h, Heard::ToNode(..)).then_some(h.clone())).collect();
    assert!(to_user == messages.iter().map(|m| Heard::ToUser(ada.clone(), m.clone())).collect::<Vec<_>>());
    assert!(to_node == messages.iter().map(|m| Heard::ToNode(m.clone())).collect::<Vec<_>>());
}

async fn too_much_is_refused_and_not_buffered<F: Factory>() {
    for limits in [BusLimits { messages: 10, bytes: 1 << 20 }, BusLimits { messages: 1000, bytes: 10 * 1024 }] {
        let cluster = F::make(1, limits).await;
        let a = &cluster.nodes[0];
        // The inbox does not return, so the node's only thread takes nothing from the queue.
        a.inbox.set_stuck(true);
        a.bus.publish_to_node(&a.id, text("stuck")).unwrap();
        a.inbox.wait_for(1).await;
        let message = Bytes::from(vec![7; 1024]);
        let outcomes: Vec<_> = (0..100).map(|_| a.bus.publish_to_node(&a.id, message.clone())).collect();
        let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!((5..=10).contains(&accepted), "{accepted} accepted");
        assert!(outcomes[accepted..].iter().all(|outcome| *outcome == Err(BusError::Overloaded)));
        assert_eq!(a.bus.stats().dropped_overload.load(std::sync::atomic::Ordering::Relaxed), (100 - accepted) as u64);
        a.inbox.set_stuck(false);
        a.inbox.wait_for(1 + accepted).await;
        a.bus.publish_to_node(&a.id, text("room again")).unwrap();
        a.inbox.wait_for_one(&Heard::ToNode(text("room again"))).await;
        assert_eq!(a.inbox.heard().len(), accepted + 2);
    }
}

async fn a_message_over_the_bound_is_refused<F: Factory>() {
    let cluster = nodes::<F>(1).await;
    let a = &cluster.nodes[0];
    let message = Bytes::from(vec![0; MAX_MESSAGE_BYTES + 1]);
    assert_eq!(a.bus.publish_to_node(&a.id, message.clone()), Err(BusError::TooLarge));
    assert_eq!(a.bus.publish_to_user(&user("ada"), message.clone()), Err(BusError::TooLarge));
    assert_eq!(a.bus.publish_to_user_counted(&user("ada"), message).await, Err(BusError::TooLarge));
}

async fn a_panic_of_the_inbox_costs_one_message<F: Factory>() {
    let cluster = nodes::<F>(2).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    a.bus.publish_to_node(&b.id, text("panic")).unwrap();
    a.bus.publish_to_node(&b.id, text("next")).unwrap();
    b.inbox.wait_for_one(&Heard::ToNode(text("next"))).await;
    assert_eq!(b.bus.stats().inbox_panics.load(std::sync::atomic::Ordering::Relaxed), 1);
}

async fn a_closed_bus_refuses_everything_and_its_users_go_offline<F: Factory>() {
    let cluster = nodes::<F>(2).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    let ada = user("ada");
    a.bus.subscribe_user(&ada).await.unwrap();
    assert!(a.bus.health().is_up());
    a.bus.shutdown().await;
    a.bus.shutdown().await;
    assert!(!a.bus.health().is_up());
    assert_eq!(a.bus.publish_to_node(&b.id, text("x")), Err(BusError::Unavailable));
    assert_eq!(a.bus.publish_to_user(&ada, text("x")), Err(BusError::Unavailable));
    assert_eq!(a.bus.publish_to_user_counted(&ada, text("x")).await, Err(BusError::Unavailable));
    assert_eq!(a.bus.subscribe_user(&user("bob")).await, Err(BusError::Unavailable));
    assert_eq!(a.bus.online(std::slice::from_ref(&ada)).await, Err(BusError::Unavailable));
    a.bus.unsubscribe_user(&ada);
    wait_for_count(&cluster, 1, "ada", 0).await;
}

async fn what_was_accepted_before_a_shutdown_is_still_sent<F: Factory>() {
    let cluster = nodes::<F>(2).await;
    let [a, b] = &cluster.nodes[..] else { unreachable!() };
    for n in 0..2000 {
        a.bus.publish_to_node(&b.id, Bytes::from(n.to_string())).unwrap();
    }
    a.bus.shutdown().await;
    assert_eq!(b.inbox.wait_for(2000).await.len(), 2000);
}
