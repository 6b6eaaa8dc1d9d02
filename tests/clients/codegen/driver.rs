//! Calls tools through a client that `onex codegen` wrote, for tests/callers/codegen.rs.

mod tools;

use std::{collections::BTreeMap, time::Duration};

use onex_client::{
    Client, Error,
    protocol::{error::ErrorCode, invoke::Executed, names::Namespace},
};
use tools::*;

async fn works(tools: &Tools) {
    let arguments = AddArguments {
        mode: Some(AddArgumentsMode::Exact),
        ..AddArguments::new(1.0, 2.5)
    };
    assert_eq!(tools.add(&arguments).await.unwrap().sum, 3.5);
    let error = tools.add(&AddArguments::new(1e300, 1e300)).await.unwrap_err();
    assert_eq!(error.tool_code(), Some("OVERFLOW"), "{error}");
    assert!(!error.retryable());
    assert_eq!(error.executed(), Executed::Yes);
    let error = tools.add(&AddArguments::new(13.0, 0.0)).await.unwrap_err();
    assert_eq!(error.executed(), Executed::Yes);
    // Who stands in between says it first.
    match &error {
        CallError::Misfit(_) => {}
        CallError::Failed(Error::Refused(refused)) => {
            assert_eq!(refused.code, ErrorCode::InvalidResult, "{error}");
        }
        other => panic!("{other}"),
    }

    let point = |x, y| EverythingPoint { x, y };
    let mut arguments = EverythingArguments {
        lists: Some(vec![vec![point(1.5, 2.5)], vec![]]),
        optional_maybe: Some(None),
        ..EverythingArguments::new(
            "2026-01-01T00:00:00Z",
            -7,
            7,
            EverythingAllLevel::Top,
            0.5,
            true,
            (),
            None,
            vec![Some(1.5), None],
            ("a".to_owned(), 1),
            BTreeMap::from([("odd".to_owned(), vec![1, 3]), ("none".to_owned(), vec![])]),
            point(0.5, -0.5),
            EverythingFigurePolygon::new(vec![point(0.5, 0.25)]).into(),
            "abc".to_owned(),
            EverythingTree(vec![
                EverythingTree(vec![]),
                EverythingTree(vec![EverythingTree(vec![])]),
            ]),
            EverythingAllWho {
                address: Some(EverythingAllWhoAddress {
                    zip: Some(None),
                    ..EverythingAllWhoAddress::new("London")
                }),
                ..EverythingAllWho::new("Ada")
            },
            EverythingAllEither::List(vec!["x".to_owned(), "y".to_owned()]),
            EverythingAllMerged { x: 1.5, y: 2.5, z: 3.5 },
            EverythingAllKeyed {
                others: BTreeMap::from([("height".to_owned(), 1.5)]),
                ..EverythingAllKeyed::new("m")
            },
            EverythingAllExact::new((EverythingAllExactTagsItem1::A, ())),
            EverythingSum {
                left: Box::new(EverythingExpression::Number(1.5)),
                right: Box::new(
                    EverythingNegation {
                        of: Box::new(
                            EverythingSum {
                                left: Box::new(EverythingExpression::Number(2.5)),
                                right: Box::new(EverythingExpression::Number(3.5)),
                            }
                            .into(),
                        ),
                    }
                    .into(),
                ),
            }
            .into(),
            vec![EverythingAllListedItem::Red, EverythingAllListedItem::Blue],
        )
    };
    let result = tools.everything(&arguments).await.unwrap();
    assert_eq!(result.either, arguments.either);
    arguments.either = EverythingAllEitherOption5 { a: "x".to_owned(), b: "y".to_owned() }.into();
    let result = tools.everything(&arguments).await.unwrap();
    assert_eq!(result.figure, arguments.figure);
    assert_eq!(result.either, arguments.either);
    assert_eq!(result.deep, arguments.deep);
    assert_eq!(result.tree, arguments.tree);
    assert_eq!(result.who, arguments.who);
    assert_eq!((result.optional, result.optional_maybe), (None, Some(None)));
    assert_eq!((result.keyed, result.pair), (arguments.keyed, arguments.pair));

    let corners = CornersArguments {
        strict: Some(CornersAllStrictOption3 { a: "x".to_owned() }.into()),
        sum: Some(CornersSum::List((
            CornersSumListItem1::Add,
            Box::new(CornersSum::Number(1.5)),
            Box::new(CornersSum::Double(Box::new((CornersSum::Number(2.5),)))),
        ))),
        origin: Some(CornersAllOrigin::Value0_5),
        closed: Some(CornersAllClosed { kind: "a".to_owned() }),
        named: Some(None),
        free: Some(serde_json::Value::Null),
        either: Some(CornersAllEither::Maybe(None)),
        source: Some(CornersAllSourceWithUrl::new("u").into()),
        short: Some(("a".to_owned(), 1)),
        long: Some(CornersAllLongTuple(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, "a".to_owned())),
        tail: Some(CornersAllTail::Of1(("a".to_owned(),))),
        versioned: Some(CornersAllVersionedOption2::new().into()),
    };
    let result = tools.corners(&corners).await.unwrap();
    assert_eq!(result.strict, corners.strict);
    assert_eq!(result.sum, corners.sum);
    assert_eq!(result.origin, corners.origin);
    assert_eq!(result.closed, corners.closed);
    assert_eq!(result.versioned, corners.versioned);
    assert_eq!(result.tail, corners.tail);
    for tail in [CornersAllTail::Of0([]), CornersAllTail::Of2(("a".to_owned(), 1))] {
        let arguments = CornersArguments { tail: Some(tail.clone()), ..Default::default() };
        assert_eq!(tools.corners(&arguments).await.unwrap().tail, Some(tail));
    }
    assert_eq!((result.short, result.long), (corners.short, corners.long));
    assert_eq!(result.source, corners.source);
    assert_eq!((result.named, result.free), (corners.named, corners.free));
    assert!(matches!(result.either, Some(CornersAllEither::Maybe(None))));

    let far = tools.far(&FarArguments::new(FarArgumentsPower::Value1e23)).await.unwrap();
    assert_eq!(far.power, FarResultPower::Value1e23);

    let odd = OddNamesArguments {
        none: Some("none".to_owned()),
        self_2: Some(OddNamesArgumentsSelf::Empty),
        a: Some(OddNamesArgumentsA {
            b: Some(OddNamesArgumentsAB { c: Some("d".to_owned()) }),
        }),
        ..OddNamesArguments::new(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, vec![12], 13, 14)
    };
    let names = tools.odd_names(&odd).await.unwrap();
    assert_eq!((names.max_items_2, names.max_items, names.class), (4, 5, 1));
    assert_eq!(names.self_2, Some(OddNamesResultSelf::Empty));

    let hostile = HostileArguments {
        quote_u0041_x: HostileArgumentsQuoteU0041X::X,
    };
    tools.hostile(&hostile).await.unwrap();
    let told = tools.twice_v1_10_0(&TwiceV1_10_0Arguments { a: Some(1) }).await.unwrap();
    let TwiceV1_10_0Result::Option2(told) = told else {
        panic!("{told:?}");
    };
    assert_eq!(told.why, "no");
    let bare = BTreeMap::from([("a".to_owned(), serde_json::json!([1, null]))]);
    assert_eq!(tools.bare(&bare).await.unwrap(), serde_json::json!({"a": [1, null]}));
}

async fn patched(tools: &Tools) {
    assert_eq!(tools.add(&AddArguments::new(1.0, 2.5)).await.unwrap().sum, 3.5);
}

async fn changed(tools: &Tools) {
    let error = tools.add(&AddArguments::new(1.0, 2.0)).await.unwrap_err();
    assert!(matches!(error, CallError::ContractChanged(_)), "{error}");
    assert!(error.to_string().contains("onex codegen --lang rust"), "{error}");
    assert_eq!(error.executed(), Executed::No);
}

#[tokio::main]
async fn main() {
    let nats = async_nats::connect(std::env::var("NATS_URL").unwrap()).await.unwrap();
    let tools = Tools::new(Client::new(nats, Namespace::default()));
    let tools = tools.with(Options {
        timeout: Some(Duration::from_secs(30)),
        correlation_id: Some("of-the-test".to_owned()),
        ..Options::default()
    });
    match std::env::args().nth(1).as_deref() {
        Some("works") => works(&tools).await,
        Some("patched") => patched(&tools).await,
        _ => changed(&tools).await,
    }
}
