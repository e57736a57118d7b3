//! What can be wrong with Redis, one thing at a time.

use super::{Scene, migrated};
use crate::support::redis::Instance;

const PASSWORD: &str = "canary-doctor-redis-password";

fn with_password(redis: &Instance, password: &str) -> String {
    let (host, port) = redis.address();
    format!("redis://carillon:{password}@{host}:{port}")
}

fn told(redis: &Instance, command: &str) {
    let answer = redis.ask(command).unwrap();
    assert!(answer.starts_with("+OK"), "{command}: {answer}");
}

#[tokio::test]
async fn a_redis_that_is_down_is_told_from_one_that_is_silent() {
    let (database, redis) = (migrated().await, Instance::start());
    let scene = Scene::on(&database).set("REDIS_URL", redis.url());
    scene.examine().nothing_wrong();
    redis.pause();
    scene.examine().is_wrong("redis.login", "does not answer within 5 s", "stopped or busy");
    redis.resume();
    redis.kill();
    let down = scene.examine();
    down.is_wrong("redis.login", "refuses connections: nothing listens there", "REDIS_URL");
    assert_eq!(down.wrong(), ["redis.login"]);
}

#[tokio::test]
async fn a_wrong_password_is_told_from_one_that_is_missing() {
    let (database, redis) = (migrated().await, Instance::start());
    told(&redis, &format!("ACL SETUSER carillon on >{PASSWORD} ~* &* +@all -@admin -@dangerous"));
    let scene = Scene::on(&database).forbidding(PASSWORD).set("REDIS_URL", with_password(&redis, PASSWORD));
    // As deploy/redis/start.sh has it: enough.
    let shipped = scene.examine();
    shipped.nothing_wrong().says("ok", "redis.messages", "there and back", "");
    shipped.says("not_checked", "redis.buffers", "may not ask", "client-output-buffer-limit");
    shipped.says("not_checked", "redis.memory", "may not ask", "");
    let wrong = scene
        .clone()
        .forbidding("not-the-one-of-redis")
        .set("REDIS_URL", with_password(&redis, "not-the-one-of-redis"));
    wrong.examine().is_wrong("redis.login", "does not take user and password", "ACL GETUSER");
    told(&redis, &format!("CONFIG SET requirepass {PASSWORD}"));
    let none = scene.set("REDIS_URL", redis.url()).examine();
    none.is_wrong("redis.login", "wants a password", "write user and password into REDIS_URL");
}

#[tokio::test]
async fn rights_that_are_too_narrow_are_named_with_the_command() {
    let (database, redis) = (migrated().await, Instance::start());
    told(&redis, &format!("ACL SETUSER carillon on >{PASSWORD} ~* resetchannels &other:* +@all"));
    let scene = Scene::on(&database).forbidding(PASSWORD).set("REDIS_URL", with_password(&redis, PASSWORD));
    scene.examine().is_wrong("redis.messages", "SUBSCRIBE on the channels carillon:doctor-", "&carillon:doctor-");
    told(&redis, "ACL SETUSER carillon allchannels -pubsub");
    scene.examine().is_wrong("redis.messages", "PUBSUB NUMSUB", "+pubsub|numsub");
    told(&redis, "ACL SETUSER carillon +pubsub -evalsha");
    scene.examine().is_wrong("redis.counting", "each node counts for itself", "+evalsha");
}

#[tokio::test]
async fn bounds_that_are_too_small_are_warned_of() {
    let (database, redis) = (migrated().await, Instance::start());
    told(&redis, "CONFIG SET client-output-buffer-limit \"pubsub 1048576 0 0\"");
    told(&redis, "CONFIG SET maxmemory 900000");
    let scene = Scene::on(&database).set("REDIS_URL", redis.url());
    let small = scene.examine();
    small.says("warning", "redis.buffers", "1024 KiB", "pubsub 32mb 8mb 60");
    small.says("warning", "redis.memory", "near the end", "raise maxmemory");
}

#[tokio::test]
async fn a_replica_is_no_bus() {
    let (database, primary, redis) = (migrated().await, Instance::start(), Instance::start());
    let (host, port) = primary.address();
    told(&redis, &format!("REPLICAOF {host} {port}"));
    let scene = Scene::on(&database).set("REDIS_URL", redis.url());
    scene.examine().is_wrong("redis.mode", "it is a replica", "name the primary");
}
