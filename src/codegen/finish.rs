//! What can be said of types only when all of them are known.

use std::collections::HashMap;

use serde_json::Value;

use super::shape::{Kind, Model, Others, Shape, Union};

/// Aliases that are followed; more would be a circle.
const ALIASES_MAX: usize = 64;

/// Completes a model whose types are all read.
pub(super) fn finish(model: &mut Model) {
    for at in 0..model.tools.len() {
        name_roots(model, at);
    }
    for id in 0..model.types.len() {
        let passing = model.types.get(id).is_some_and(|it| it.passing);
        if passing && !model.is_circular_alias(id) {
            pass_over(model, id);
        }
    }
    for id in 0..model.types.len() {
        let Some(Kind::Union(union)) = model.kind(id) else {
            continue;
        };
        let union = union.clone();
        let literals = literals(model, &union);
        let kind = match literals {
            Some((values, docs)) => {
                if let Some(named) = model.types.get_mut(id) {
                    named.docs.extend(docs);
                }
                Kind::Literals(values)
            }
            None => Kind::Union(told_apart(model, union)),
        };
        if let Some(named) = model.types.get_mut(id) {
            named.kind = kind;
        }
    }
    share(model);
}

/// Puts what it stands for in the place of another name.
fn pass_over(model: &mut Model, id: usize) {
    let Some(Kind::Alias(shape)) = model.kind(id) else {
        return;
    };
    let shape = shape.clone();
    let with = |named| match named {
        named if named == id => shape.clone(),
        named => Shape::Named(named),
    };
    for named in &mut model.types {
        for shape in named.kind.shapes_mut() {
            shape.replace(&with);
        }
    }
}

/// Makes one of types that would have one name and are the same in all that they hold: arguments and result of a tool
/// often have definitions in common.
fn share(model: &mut Model) {
    let mut classes = vec![0; model.types.len()];
    let mut count = 0;
    loop {
        let mut known: HashMap<String, usize> = HashMap::new();
        let next: Vec<usize> = model
            .types
            .iter()
            .map(|named| {
                let mut kind = named.kind.clone();
                for shape in kind.shapes_mut() {
                    let class = |id: usize| Shape::Named(classes.get(id).copied().unwrap_or(id));
                    shape.replace(&class);
                }
                let size = known.len();
                *known
                    .entry(format!("{} {kind:?}", named.words))
                    .or_insert(size)
            })
            .collect();
        let found = known.len();
        classes = next;
        if found == count {
            break;
        }
        count = found;
    }
    let mut first: HashMap<usize, usize> = HashMap::new();
    for (id, class) in classes.iter().enumerate() {
        first.entry(*class).or_insert(id);
    }
    let shared = |id: usize| {
        let class = classes.get(id);
        class
            .and_then(|class| first.get(class))
            .copied()
            .unwrap_or(id)
    };
    for named in &mut model.types {
        for shape in named.kind.shapes_mut() {
            shape.replace(&|id| Shape::Named(shared(id)));
        }
    }
    for tool in &mut model.tools {
        tool.arguments = shared(tool.arguments);
        tool.result = shared(tool.result);
    }
}

/// Arguments and results that are but another type take its place, and it their name.
fn name_roots(model: &mut Model, at: usize) {
    let Some(tool) = model.tools.get(at) else {
        return;
    };
    let roots = [tool.arguments, tool.result];
    let found = roots.map(|root| {
        let shape = Shape::Named(root);
        match resolved(model, &shape) {
            Shape::Named(id) if *id != root => Some((root, *id)),
            _ => None,
        }
    });
    for (root, id) in found.iter().flatten() {
        let words = model.types.get(*root).map(|it| it.words.clone());
        if let (Some(named), Some(words)) = (model.types.get_mut(*id), words) {
            named.words = words;
        }
    }
    if let Some(tool) = model.tools.get_mut(at) {
        let [arguments, result] = found;
        tool.arguments = arguments.map_or(tool.arguments, |(_, id)| id);
        tool.result = result.map_or(tool.result, |(_, id)| id);
    }
}

/// What stands behind other names: a type that is none, or no type.
fn resolved<'a>(model: &'a Model, shape: &'a Shape) -> &'a Shape {
    let mut shape = shape;
    for _ in 0..ALIASES_MAX {
        match shape {
            Shape::Named(id) => match model.kind(*id) {
                Some(Kind::Alias(inner @ Shape::Named(_))) => shape = inner,
                _ => return shape,
            },
            _ => return shape,
        }
    }
    shape
}

fn kind<'a>(model: &'a Model, shape: &'a Shape) -> Option<&'a Kind> {
    match resolved(model, shape) {
        Shape::Named(id) => model.kind(*id),
        _ => None,
    }
}

/// The values of a union that is nothing else, and what is told of each.
fn literals(model: &Model, union: &Union) -> Option<(Vec<Value>, Vec<String>)> {
    let mut all: Vec<Value> = Vec::new();
    let mut docs = Vec::new();
    for alternative in &union.alternatives {
        let Some(Kind::Literals(values)) = kind(model, &alternative.shape) else {
            return None;
        };
        if let (Shape::Named(id), [value]) = (&alternative.shape, values.as_slice()) {
            let told = model.types.get(*id).and_then(|it| it.docs.first());
            docs.extend(told.map(|told| format!("`{value}`: {told}")));
        }
        for value in values {
            if !all.contains(value) {
                all.push(value.clone());
            }
        }
    }
    Some((all, docs))
}

/// The union with the member that tells its alternatives apart, or else with those first that say most.
fn told_apart(model: &Model, mut union: Union) -> Union {
    let Some(first) = union.alternatives.first() else {
        return union;
    };
    let names = match kind(model, &first.shape) {
        Some(Kind::Object(object)) => object
            .fields
            .iter()
            .map(|field| field.name.clone())
            .collect(),
        _ => Vec::new(),
    };
    for name in names {
        let tags = union
            .alternatives
            .iter()
            .map(|it| tags(model, &it.shape, &name));
        let Some(tags) = tags.collect::<Option<Vec<Vec<Value>>>>() else {
            continue;
        };
        let mut all: Vec<&Value> = tags.iter().flatten().collect();
        let count = all.len();
        all.sort_by_key(ToString::to_string);
        all.dedup();
        if all.len() == count {
            for (alternative, tags) in union.alternatives.iter_mut().zip(tags) {
                alternative.tags = tags;
            }
            union.tag = Some(name);
            return union;
        }
    }
    let said = |shape: &Shape| match (resolved(model, shape), kind(model, shape)) {
        (_, Some(Kind::Object(object))) => {
            let required = object.fields.iter().filter(|field| field.required).count();
            1 + required + usize::from(matches!(object.others, Others::Refused))
        }
        (Shape::Tuple(_), _) | (_, Some(Kind::Literals(_) | Kind::Alias(Shape::Tuple(_)))) => 1,
        _ => 0,
    };
    union
        .alternatives
        .sort_by_key(|it| std::cmp::Reverse(said(&it.shape)));
    union
}

/// The values that a member of an object must have.
fn tags(model: &Model, shape: &Shape, name: &str) -> Option<Vec<Value>> {
    let Some(Kind::Object(object)) = kind(model, shape) else {
        return None;
    };
    let field = object.fields.iter().find(|field| field.name == name)?;
    match kind(model, &field.shape) {
        Some(Kind::Literals(values)) if field.required => Some(values.clone()),
        _ => None,
    }
}
