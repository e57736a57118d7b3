//! As much of PromQL as it takes to find the selectors in an expression.

/// Each metric that is selected, with its matchers: what can be asked for alone.
pub fn selectors(expression: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '"' || c == '[') {
        rest = &rest[start..];
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
            continue;
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted.split_once('"').map_or("", |(_, after)| after);
            continue;
        }
        if rest.starts_with('[') {
            rest = rest.split_once(']').map_or("", |(_, after)| after);
            continue;
        }
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        let next = after.trim_start();
        if ["by", "on", "without", "ignoring", "group_left", "group_right"].contains(&word) {
            // Names of labels.
            rest = after.split_once(')').map_or("", |(_, after)| after);
        } else if ["(", "by ", "without "].iter().any(|what| next.starts_with(what))
            || ["and", "or", "unless", "bool", "offset", "inf", "nan"].contains(&word)
        {
            // A function, an aggregation or an operator.
        } else if let Some(matchers) = after.strip_prefix('{') {
            let end = closing(matchers);
            found.push(format!("{word}{{{}}}", &matchers[..end]));
            rest = &matchers[end..];
        } else {
            found.push(word.to_owned());
        }
    }
    found
}

/// Where the brace is that ends the matchers; those in quotes are none.
fn closing(matchers: &str) -> usize {
    let mut quoted = false;
    let brace = matchers.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == '}' && !quoted
    });
    brace.map_or(matchers.len(), |(at, _)| at)
}

#[test]
fn selectors_are_found_and_labels_functions_and_operators_are_not() {
    for (expression, expected) in [
        ("absent(a_b)", vec!["a_b"]),
        ("a == 0 unless b == 1", vec!["a", "b"]),
        (
            "histogram_quantile(0.99, sum by (job, le) (rate(x_bucket{q=~\"a.*|b\", z=\"}\"}[5m]))) > 1e3",
            vec!["x_bucket{q=~\"a.*|b\", z=\"}\"}"],
        ),
        ("p / on (job, instance) q{} > 0.9 and on (job) r", vec!["p", "q{}", "r"]),
        ("time() - max by (s) (t)", vec!["t"]),
    ] {
        assert_eq!(selectors(expression), expected, "{expression}");
    }
}
