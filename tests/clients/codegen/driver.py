"""Calls tools through a client that `onex codegen` wrote, for tests/callers/codegen.rs."""

import asyncio
import os
import sys

import nats
from nats.aio.client import Client

import tools as made


async def works(tools: made.Tools) -> None:
    sum_ = await tools.add(made.AddArguments(left=1, right=2.5, mode="exact"))
    assert sum_.sum == 3.5, sum_
    try:
        await tools.add(made.AddArguments(left=1e300, right=1e300))
        raise AssertionError("it overflows")
    except made.ContractChanged:
        raise
    except made.ToolError as error:
        assert (error.code, error.tool_code) == ("TOOL_ERROR", "OVERFLOW"), error
        assert error.executed is True and not error.retryable, error
    try:
        await tools.add(made.AddArguments(left=13, right=0))
        raise AssertionError("a sum that is none")
    except made.ToolError as error:
        # Who stands in between says it first.
        assert error.code in ("INVALID_RESULT", "MALFORMED"), error
        assert error.executed is True and "sum" in str(error), error

    point = made.EverythingPoint(x=0.5, y=0.25)
    arguments = made.EverythingArguments(
        text="2026-01-01T00:00:00Z",
        whole=-7,
        count=7,
        level="top",
        number=0.5,
        flag=True,
        nothing=None,
        maybe=None,
        list_=[1.5, None],
        lists=[[made.EverythingPoint(x=1.5, y=2.5)], []],
        pair=("a", 1),
        map={"odd": [1, 3], "none": []},
        at=made.EverythingPoint(x=0.5, y=-0.5),
        figure=made.EverythingFigurePolygon(points=[point]),
        id="abc",
        tree=[[], [[]]],
        who=made.EverythingAllWho(
            name="Ada", address=made.EverythingAllWhoAddress(city="London", zip=None)
        ),
        either=made.EverythingAllEitherOption5(a="x", b="y"),
        merged=made.EverythingAllMerged(x=1.5, y=2.5, z=3.5),
        keyed=made.EverythingAllKeyed(unit="m", others={"height": 1.5}),
        exact=made.EverythingAllExact(tags=("a", None)),
        deep=made.EverythingSum(
            left=1.5,
            right=made.EverythingNegation(of=made.EverythingSum(left=2.5, right=3.5)),
        ),
        listed=["red", "blue"],
        optional_maybe=None,
    )
    arguments.either = ["x", "y"]
    result = await tools.everything(arguments)
    assert result.either == ["x", "y"], result
    arguments.either = made.EverythingAllEitherOption5(a="x", b="y")
    result = await tools.everything(arguments)
    assert result.at == arguments.at and result.tree == [[], [[]]], result
    assert isinstance(result.figure, made.EverythingFigurePolygon), result
    assert result.figure.points == [point], result
    assert isinstance(result.either, made.EverythingAllEitherOption5), result
    assert isinstance(result.deep, made.EverythingSum), result
    assert isinstance(result.deep.right, made.EverythingNegation), result
    assert result.pair == ("a", 1) and result.keyed.others == {"height": 1.5}, result
    assert result.optional is None and result.optional_maybe is None, result
    assert result.who.address is not None and result.who.address.zip is None, result

    corners = made.CornersArguments(
        strict=made.CornersAllStrictOption3(a="x"),
        sum=("add", 1.5, (2.5,)),
        origin=0.5,
        closed=made.CornersAllClosed(kind="a"),
        named=None,
        free=None,
        either=None,
        source=made.CornersAllSourceWithUrl(url="u"),
        short=("a", 1),
        long=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, "a"),
        tail=("a",),
        versioned=made.CornersAllVersionedOption2(),
    )
    turned = await tools.corners(corners)
    assert turned.strict == corners.strict, turned
    assert turned.sum == corners.sum, turned
    assert turned.origin == 0.5, turned
    assert turned.closed == corners.closed, turned
    assert turned.versioned == corners.versioned, turned
    assert turned.short == ("a", 1) and turned.long == corners.long, turned
    assert turned.source == corners.source, turned
    assert turned.tail == ("a",), turned
    none = await tools.corners(made.CornersArguments(tail=()))
    both = await tools.corners(made.CornersArguments(tail=("a", 1)))
    assert (none.tail, both.tail) == ((), ("a", 1)), (none, both)
    assert turned.named is None and turned.free is None, turned
    assert turned.either is None, turned

    far = await tools.far(made.FarArguments(power=1e23))
    assert (far.mole, far.power, far.long) == (6.02214076e23, 1e23, 10**17), far

    odd = made.OddNamesArguments(
        class_=1, type=2, self_=3, max_items_2=4, max_items=5, a_b_2=6, a_b_3=7,
        field_1st=8, field_=9, gr_e=10, int_=11, list_=[12], to_json_=13, async_=14,
        none="none", self_2="",
        a=made.OddNamesArgumentsA(b=made.OddNamesArgumentsAB(c="d")),
    )  # fmt: skip
    names = await tools.odd_names(odd)
    assert names.max_items_2 == 4 and names.class_ == 1 and names.self_2 == "", names
    assert names.a_b is None, names

    await tools.hostile(made.HostileArguments(quote_u0041_x="${x}"))
    told = await tools.twice_v1_10_0(made.TwiceV1_10_0Arguments(a=1))
    assert isinstance(told, made.TwiceV1_10_0ResultOption2) and told.why == "no", told
    assert await tools.bare({"a": [1, None]}) == {"a": [1, None]}


async def merged(nc: Client) -> None:
    """What a call says goes before what the client says; what it does not say stays."""
    arguments = made.AddArguments(left=1, right=2)
    elsewhere = made.Tools(nc, made.Options(prefix="onex.nobody.v1"))
    try:
        await elsewhere.add(arguments, made.Options(timeout=1.0))
        raise AssertionError("nobody listens there")
    except made.ToolError as error:
        assert error.code == "NO_RESPONDERS", error
        assert "onex.nobody.v1" in str(error), error
    pinned = made.Tools(nc, made.Options(provider_node_id="nobody", trusted_only=True))
    try:
        await pinned.add(arguments, made.Options(correlation_id="of-the-test"))
        raise AssertionError("there is no such provider")
    except made.ToolError as error:
        assert error.code == "PROVIDER_NOT_FOUND", error
    own = made.Options(provider_node_id="calc", trusted_only=False)
    assert (await pinned.add(arguments, own)).sum == 3


async def patched(tools: made.Tools) -> None:
    assert (await tools.add(made.AddArguments(left=1, right=2.5))).sum == 3.5


async def changed(tools: made.Tools) -> None:
    try:
        await tools.add(made.AddArguments(left=1, right=2))
        raise AssertionError("the contract has changed")
    except made.ContractChanged as error:
        assert "onex codegen --lang python" in str(error), error
        assert error.executed is False and error.details["offered"], error


async def main() -> None:
    nc = await nats.connect(os.environ["NATS_URL"])
    tools = made.Tools(nc, made.Options(timeout=30, correlation_id="of-the-test"))
    await {"works": works, "patched": patched, "changed": changed}[sys.argv[1]](tools)
    if sys.argv[1] == "works":
        await merged(nc)
    await nc.close()


asyncio.run(main())
