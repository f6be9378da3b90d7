//! Conditions of a query on what a caller has chosen, each with a parameter.

use datafusion::common::{ParamValues, ScalarValue};

/// Conditions that hold all.
#[derive(Default)]
pub(super) struct Terms {
    conditions: Vec<String>,
    values: Vec<ScalarValue>,
}

impl Terms {
    /// A condition in which `?` stands for the value, if there is one.
    pub(super) fn add<T>(&mut self, condition: &str, value: Option<T>)
    where
        ScalarValue: From<T>,
    {
        if let Some(value) = value {
            self.values.push(ScalarValue::from(value));
            self.conditions.push(condition.replace('?', &format!("${}", self.values.len())));
        }
    }

    /// A condition in which `?` stands for a list of values, if there are any.
    pub(super) fn add_any<T>(&mut self, condition: &str, values: Vec<T>)
    where
        ScalarValue: From<T>,
    {
        let first = self.values.len() + 1;
        self.values.extend(values.into_iter().map(ScalarValue::from));
        let places: Vec<String> = (first..=self.values.len()).map(|place| format!("${place}")).collect();
        if !places.is_empty() {
            self.conditions.push(condition.replace('?', &places.join(", ")));
        }
    }

    /// `where ...`, or nothing.
    pub(super) fn clause(&self) -> String {
        match self.conditions.is_empty() {
            true => String::new(),
            false => format!("where {}", self.conditions.join(" and ")),
        }
    }

    /// The values.
    pub(super) fn parameters(self) -> Option<ParamValues> {
        (!self.values.is_empty()).then(|| ParamValues::from(self.values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values are parameters, numbered as they are given; what is not given is no condition.
    #[test]
    fn values_are_parameters() {
        let mut terms = Terms::default();
        assert_eq!(terms.clause(), "");
        terms.add("service_name = ?", Some("a' or 'a' = 'a"));
        terms.add("status = ?", None::<&str>);
        terms.add("duration_ns >= ?", Some(5_i64));
        terms.add_any("name in (?)", vec!["a", "b"]);
        terms.add_any("fingerprint in (?)", Vec::<&str>::new());
        assert_eq!(terms.clause(), "where service_name = $1 and duration_ns >= $2 and name in ($3, $4)");
        assert!(terms.parameters().is_some() && Terms::default().parameters().is_none());
    }
}
