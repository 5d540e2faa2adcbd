//! The fake's own API under `/_fake/`, for tests in other languages. Its requests are not signed.
//!
//! | request | |
//! | --- | --- |
//! | `GET /_fake/requests`, `DELETE …` | read the log; clear it |
//! | `POST /_fake/faults`, `DELETE …` | add a rule; remove all rules |
//! | `GET /_fake/load` | `{"in_flight", "most_in_flight", "connections"}` |
//! | `POST /_fake/clock` | `{"advance": ms}` or `{"stop_at": ms}` for the jobs' clock, with `_server` for the server's |
//! | `GET /_fake/world`, `PUT …`, `POST …` | read the world; replace it |
//! | `POST /_fake/names` | `{"application", "segment"?, "name"?, "tags"?}`: rename an application or a segment |
//! | `PUT /_fake/keys` | `[{"access_key_id", "secret_access_key", "session_token"?, "expired"?, "policies"?, "account_id"?}]` |

use std::{
    collections::BTreeMap,
    io::Write as _,
    mem,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use hyper::{Method, http::request::Parts};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{permission::Policy, reply::Reply, server::State, sigv4::Key, world::World};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Turn {
    stop_at: Option<i64>,
    stop_at_server: Option<i64>,
    advance: i64,
    advance_server: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    session_token: Option<String>,
    #[serde(default)]
    expired: bool,
    #[serde(default)]
    policies: Option<Vec<Policy>>,
    #[serde(default)]
    account_id: Option<String>,
}

/// New names and tags. An absent field keeps its value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Renaming {
    application: String,
    #[serde(default)]
    segment: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
}

impl Renaming {
    fn apply(self, world: &mut World) -> Result<(), String> {
        let Self { application: id, segment, name, tags } = self;
        let application =
            world.applications.get_mut(&id).ok_or_else(|| format!("there is no application {id:?}"))?;
        let (old_name, old_tags) = match segment {
            None => (&mut application.name, &mut application.tags),
            Some(segment) => {
                let missing = || format!("application {id:?} has no segment {segment:?}");
                let segment = application.segments.get_mut(&segment).ok_or_else(missing)?;
                (&mut segment.name, &mut segment.tags)
            }
        };
        *old_name = name.unwrap_or_else(|| mem::take(old_name));
        *old_tags = tags.unwrap_or_else(|| mem::take(old_tags));
        Ok(())
    }
}

/// Answers a request under `/_fake/`.
pub(crate) fn answer(state: &Arc<State>, parts: &Parts, body: &[u8]) -> Option<Reply> {
    let path = parts.uri.path().strip_prefix("/_fake/")?;
    let result = match (&parts.method, path) {
        (&Method::GET, "requests") => show(&state.log.all()),
        (&Method::DELETE, "requests") => {
            state.log.clear();
            Ok(Value::Null)
        }
        (&Method::GET, "load") => Ok(json!({
            "in_flight": state.log.in_flight(),
            "most_in_flight": state.log.most_in_flight(),
            "connections": state.log.connections.load(Ordering::SeqCst),
        })),
        (&Method::POST, "faults") => read(body).map(|rule| state.faults.add(rule)).map(|()| Value::Null),
        (&Method::DELETE, "faults") => {
            state.faults.clear();
            Ok(Value::Null)
        }
        (&Method::POST, "clock") => read(body).map(|turn: Turn| {
            if let Some(at) = turn.stop_at {
                state.clock.stop_at(at);
            }
            if let Some(at) = turn.stop_at_server {
                state.server_clock.stop_at(at);
            }
            state.clock.advance(turn.advance);
            state.server_clock.advance(turn.advance_server);
            json!({"now": state.clock.now(), "server_now": state.server_clock.now()})
        }),
        (&Method::GET, "world") => show(&*state.world()),
        (&Method::PUT | &Method::POST, "world") => {
            read(body).map(|world| *state.world() = world).map(|()| Value::Null)
        }
        (&Method::POST, "names") => {
            read(body).and_then(|it: Renaming| it.apply(&mut state.world())).map(|()| Value::Null)
        }
        (&Method::PUT, "keys") => read(body).map(|keys: Vec<KeyFile>| {
            let keys = keys.into_iter().map(|key| Key {
                access_key_id: key.access_key_id,
                secret_access_key: key.secret_access_key,
                session_token: key.session_token,
                expired: key.expired,
                policies: key.policies,
                account_id: key.account_id,
            });
            *state.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys.collect();
            Value::Null
        }),
        (method, path) => Err(format!("there is no {method} /_fake/{path}")),
    };
    Some(match result {
        Ok(value) => Reply::json(200, &value),
        Err(problem) => Reply::json(400, &json!({"problem": problem})),
    })
}

fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn show(value: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

/// Prints a line. The reader may have closed the pipe.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
