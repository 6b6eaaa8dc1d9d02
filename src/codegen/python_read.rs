//! Python that reads results: each type has a function from JSON, which says where it does not fit.

use super::{
    python_alias::literals,
    python_writer::{Writer, literal, string},
    shape::{Field, Kind, Object, Others, Shape, Union},
    text::called,
};

impl Writer<'_> {
    /// The function that reads a shape.
    pub(super) fn reader(&self, shape: &Shape) -> String {
        match shape {
            Shape::Any => "_anything".to_owned(),
            Shape::Null => "_null".to_owned(),
            Shape::Bool => "_bool".to_owned(),
            Shape::Integer { .. } => "_integer".to_owned(),
            Shape::Number => "_number".to_owned(),
            Shape::Text => "_text".to_owned(),
            Shape::List(inner) => format!("_list_of({})", self.reader(inner)),
            Shape::Map(inner) => format!("_map_of({})", self.reader(inner)),
            Shape::Nullable(inner) => format!("_or_null({})", self.reader(inner)),
            Shape::Tuple(items) => {
                let items: Vec<String> = items.iter().map(|item| self.reader(item)).collect();
                let at = |at: usize| format!("_item(it, {at}, at");
                let items = items.iter().enumerate();
                let items: Vec<String> = items.map(|(n, it)| format!("{}, {it})", at(n))).collect();
                let comma = if items.len() == 1 { "," } else { "" };
                format!(
                    "_tuple_of({}, lambda it, at: ({}{comma}))",
                    items.len(),
                    items.join(", ")
                )
            }
            Shape::Named(id) => match self.model.kind(*id) {
                Some(Kind::Object(_)) => format!("{}.from_json", self.name(*id)),
                _ => self.function(*id),
            },
        }
    }

    fn function(&self, id: usize) -> String {
        // Types have names of their own, so these have.
        format!("_read_{}", self.name(id))
    }

    /// The method that reads an object.
    pub(super) fn reading(
        &self,
        name: &str,
        members: &[(String, &Field)],
        object: &Object,
    ) -> String {
        let mut items = Vec::new();
        for (name, field) in members {
            let how = match (field.required, self.model.is_nullable(&field.shape)) {
                (true, _) => "_required",
                (false, true) => "_if_there",
                (false, false) => "_optional",
            };
            let parts = [
                "members".to_owned(),
                string(&field.name),
                "at".to_owned(),
                self.reader(&field.shape),
            ];
            let head = format!("{name}={how}");
            let before = 12 + head.chars().count();
            items.push(head + &called(("(", ")"), &parts, (before, 1), (12, 4)));
        }
        if let Others::Typed(shape) = &object.others {
            let known = members.iter().map(|(_, field)| string(&field.name));
            let known: Vec<String> = known.collect();
            let known = called(("[", "]"), &known, (32, 1), (16, 4));
            items.push(format!(
                "others=_others(members, at, {}, {known})",
                self.reader(shape)
            ));
        }
        let only = match &object.others {
            Others::Refused => {
                let known = members.iter().map(|(_, field)| string(&field.name));
                let known: Vec<String> = known.collect();
                let known = called(("[", "]"), &known, (33, 1), (8, 4));
                format!("_no_others(members, at, {known})\n        ")
            }
            _ => String::new(),
        };
        let members = if items.is_empty() && only.is_empty() {
            "_members(value, at)\n        "
        } else {
            "members = _members(value, at)\n        "
        };
        format!(
            "    @classmethod\n    def from_json(cls, value: object, at: str = \"\") -> {name}:\n        \
             {members}{only}return {}\n",
            called(("cls(", ")"), &items, (15, 0), (8, 4)),
        )
    }

    fn read_union(&self, union: &Union) -> String {
        let Some(tag) = &union.tag else {
            let last = union.alternatives.len().saturating_sub(2);
            let all = union.alternatives.iter().map(|it| self.reader(&it.shape));
            let all: Vec<String> = all.collect();
            let mut all = all.into_iter().rev();
            let mut read = all.next().unwrap_or_default();
            for (depth, one) in (0..=last).rev().zip(all) {
                let indent = 4 + 4 * depth;
                read = called(
                    ("_either(", ")"),
                    &[one, read],
                    (indent + 7, 1),
                    (indent, 4),
                );
            }
            return format!("    read = {read}\n    return read(value, at)\n");
        };
        let mut out = format!("    tag = _members(value, at).get({})\n", string(tag));
        let mut all = Vec::new();
        for alternative in &union.alternatives {
            let tags: Vec<String> = alternative.tags.iter().map(literal).collect();
            out.push_str(&format!(
                "    if _is_one_of(tag, {}):\n        return {}(value, at)\n",
                tags.join(", "),
                self.reader(&alternative.shape)
            ));
            all.extend(alternative.tags.iter().map(ToString::to_string));
        }
        let tag = string(&format!("/{tag}"));
        format!(
            "{out}    raise _wrong(at + {tag}, {})\n",
            string(&format!("one of {}", all.join(", ")))
        )
    }
}

/// All functions that read what is no object.
pub(super) fn readers(writer: &Writer<'_>, ids: &[usize]) -> String {
    let mut out = String::new();
    for id in ids {
        let body = match writer.model.kind(*id) {
            _ if !writer.is_read(*id) => continue,
            None | Some(Kind::Object(_)) => continue,
            Some(Kind::Literals(values)) => {
                let mut items = vec!["value".to_owned(), "at".to_owned()];
                items.extend(values.iter().map(literal));
                format!(
                    "    return {}\n",
                    called(("_one_of(", ")"), &items, (11, 0), (4, 4))
                )
            }
            Some(Kind::Union(union)) => writer.read_union(union),
            Some(Kind::Alias(shape)) => format!("    return {}(value, at)\n", writer.reader(shape)),
        };
        let kind = match writer.constant(*id) {
            Some(value) => literals(std::slice::from_ref(value)),
            None => writer.name(*id).to_owned(),
        };
        let name = writer.function(*id);
        out.push_str(&format!(
            "\n\ndef {name}(value: object, at: str) -> {kind}:\n{body}"
        ));
    }
    out
}
