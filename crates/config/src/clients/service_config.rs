//! The service config of a gRPC client, as far as it says how servers are chosen.

use serde_json::{Map, Value};

use crate::section::Section;

/// Which of the addresses of a host connections are made to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LoadBalancing {
    /// The first one that answers.
    #[default]
    PickFirst,
    /// All of them in turn.
    RoundRobin,
}

/// Settings that gRPC knows and that have no effect here.
const WITHOUT_EFFECT: [(&str, &str); 3] = [
    ("methodConfig", "calls have the timeouts and retries of this program"),
    ("retryThrottling", "calls have the retries of this program"),
    ("healthCheckConfig", "a server that does not answer is found by calls and by keepalive"),
];

/// Reads the field `default_service_config`. Returns `None` if a fault was noted.
pub(super) fn read_load_balancing(section: &Section<'_>) -> Option<LoadBalancing> {
    const NAME: &str = "default_service_config";
    let Some(config) = section.json(NAME) else { return Some(LoadBalancing::default()) };
    let path = section.path_of(NAME);
    let position = || section.position_of(NAME);
    let empty = Map::new();
    let mut found = Some(LoadBalancing::default());
    for (key, value) in config.as_object().unwrap_or(&empty) {
        let path = path.field(key);
        let policy = match key.as_str() {
            "loadBalancingConfig" => read_config(value),
            "loadBalancingPolicy" => match value.as_str().and_then(policy) {
                Some(policy) => Ok(policy),
                None => Err("is not supported: only pick_first and round_robin are".to_owned()),
            },
            _ => {
                if let Some((_, reason)) = WITHOUT_EFFECT.iter().find(|(known, _)| known == key) {
                    section.reading().note_notice(&path, position(), format!("has no effect: {reason}"));
                } else {
                    section.reading().note_fault(&path, position(), "is not supported".to_owned());
                    found = None;
                }
                continue;
            }
        };
        match policy {
            // The list has precedence over the name, in any order.
            Ok(policy) => {
                if key == "loadBalancingConfig" || config.get("loadBalancingConfig").is_none() {
                    found = found.map(|_| policy);
                }
            }
            Err(reason) => {
                section.reading().note_fault(&path, position(), reason);
                found = None;
            }
        }
    }
    found
}

/// Returns the first policy of a list that is known, as gRPC does.
fn read_config(list: &Value) -> Result<LoadBalancing, String> {
    let policies = list.as_array().ok_or("must be a list of objects such as {round_robin: {}}")?;
    let names = policies.iter().map(|entry| {
        let mut names = entry.as_object().into_iter().flat_map(Map::keys);
        match (names.next(), names.next()) {
            (Some(name), None) => Ok(name),
            _ => Err("must be a list of objects with one field each, such as {round_robin: {}}"),
        }
    });
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let known = names.iter().find_map(|name| policy(name));
    known.ok_or_else(|| "is not supported: only pick_first and round_robin are".to_owned())
}

fn policy(name: &str) -> Option<LoadBalancing> {
    match name {
        "pick_first" => Some(LoadBalancing::PickFirst),
        "round_robin" => Some(LoadBalancing::RoundRobin),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_known_policy_counts() {
        assert_eq!(read_config(&json!([{"round_robin": {}}])), Ok(LoadBalancing::RoundRobin));
        assert_eq!(read_config(&json!([{"xds": {}}, {"pick_first": {}}])), Ok(LoadBalancing::PickFirst));
        for wrong in [json!([]), json!([{"xds": {}}]), json!({}), json!([{}]), json!([{"a": {}, "b": {}}]), json!([1])]
        {
            assert!(read_config(&wrong).is_err(), "{wrong}");
        }
    }
}
