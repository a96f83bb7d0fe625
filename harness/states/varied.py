"""What varies from one checkpoint to the next, as data: factors, their values, and the real bug each value stands for.

A combination takes one value of each factor. The first value of a factor is its plain one: a finding is reduced to the
values that are not plain and without which it does not show. No torch: `harness.states.drawn` builds what is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

# Factor -> value; plain data, so that it can be sent to ranks.
Combination = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value of a factor."""

    name: str
    # The bug of real backends that shows with this value only.
    stands_for: str
    # Capabilities without which the value is never drawn.
    needs: tuple[str, ...] = ()
    # Whether wrong data may look right under it: zeros survive a narrowing, of an empty tensor nothing is compared.
    hides: bool = False


@dataclass(frozen=True, kw_only=True)
class Factor:
    """Something that varies independently of the rest; its first value is the plain one."""

    name: str
    values: tuple[Value, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its values."""
        return tuple(value.name for value in self.values)

    @property
    def telling(self) -> tuple[str, ...]:
        """The names of its values under which wrong data shows."""
        return tuple(value.name for value in self.values if not value.hides)

    @property
    def hiding(self) -> tuple[str, ...]:
        """The names of its values under which wrong data may look right."""
        return tuple(value.name for value in self.values if value.hides)


@dataclass(frozen=True, kw_only=True)
class Clash:
    """Values of two factors that cannot meet, for no fault of anybody."""

    first: tuple[str, frozenset[str]]
    second: tuple[str, frozenset[str]]
    why: str

    def forbids(self, combination: Mapping[str, str]) -> bool:
        """Tell whether a combination, which may lack factors, holds both."""
        return all(combination.get(factor) in values for factor, values in (self.first, self.second))


@dataclass(frozen=True, kw_only=True)
class Model:
    """Factors and what of them cannot meet."""

    factors: tuple[Factor, ...]
    clashes: tuple[Clash, ...] = ()

    def plain(self) -> Combination:
        """Return the combination of plain values."""
        return {factor.name: factor.values[0].name for factor in self.factors}

    def allows(self, combination: Mapping[str, str]) -> bool:
        """Tell whether the values of a combination, which may lack factors, can meet."""
        return not any(clash.forbids(combination) for clash in self.clashes)

    def within(self, opted_out: Iterable[str]) -> Model:
        """Return the model without the values that need a capability which is opted out of."""
        gone = set(opted_out)
        return self._with(lambda value: not gone & set(value.needs))

    def telling(self) -> Model:
        """The model without the values under which wrong data may look right."""
        return self._with(lambda value: not value.hides)

    def _with(self, kept: Callable[[Value], bool]) -> Model:
        factors = [replace(factor, values=tuple(filter(kept, factor.values))) for factor in self.factors]
        return replace(self, factors=tuple(factors))


def factor(name: str, *values: tuple[str, str] | Value) -> Factor:
    """Return a factor from (name, what it stands for) pairs, or Values where there is more to say."""
    made = [item if isinstance(item, Value) else Value(name=item[0], stands_for=item[1]) for item in values]
    return Factor(name=name, values=tuple(made))


def hiding(*values: tuple[str, str]) -> tuple[Value, ...]:
    """Values under which wrong data may look right; they meet each other value once, and hide no other pair."""
    return tuple(Value(name=name, stands_for=bug, hides=True) for name, bug in values)


def needing(capability: str, *values: tuple[str, str]) -> tuple[Value, ...]:
    """Return the values that are drawn only where nobody opted out of a capability."""
    return tuple(Value(name=name, stands_for=bug, needs=(capability,)) for name, bug in values)


def clash(first: str, values: Sequence[str], second: str, others: Sequence[str], why: str) -> Clash:
    """Return a clash of values of two factors."""
    return Clash(first=(first, frozenset(values)), second=(second, frozenset(others)), why=why)


def options(sets: Sequence[str]) -> Factor:
    """Return the option sets of the backend at hand, by what they say; the plain one is whichever it lists first."""
    return factor("options", *((said, "a setting that changes more than the speed (WRITE-07)") for said in sets))
