"""What the story plays: when flags change and payments is deployed, and what each request asks for.

Everything follows from the seed, but for ids and times.
"""

import random
from dataclasses import dataclass, field

# Orders that are not ordinary, by what they ask for, with the weights per thousand: outside of the incident, and in it.
# In the incident a panic would take the minute's heap from the failure that the story is about.
WEIGHTS = {
    "many_digits": (100, 160),
    "missing_field": (25, 25),
    "panic": (25, 0),
    "timeout": (20, 20),
    "lock": (25, 25),
    "job_fails": (40, 40),
}


@dataclass(frozen=True)
class Step:
    """Something that is done to the shop, at a fraction of the story's length."""

    at: float
    action: str
    argument: str = ""


# Failures need both the release 1.9.0 and the mode strict: neither alone is the cause.
STEPS = [
    Step(0.20, "mode", "strict for payments-b"),
    Step(0.32, "express", "on"),
    Step(0.40, "deploy", "b 1.9.0"),
    Step(0.44, "deploy", "a 1.9.0"),
    Step(0.58, "mode", "strict"),
    Step(0.76, "deploy", "a 1.9.1"),
    Step(0.80, "deploy", "b 1.9.1"),
]
INCIDENT = (0.40, 0.80)
FIRST_NAMES = ["Jane", "Ana", "Emil", "Noor", "Wim", "Zoe"]
LAST_NAMES = ["Doe", "Okafor", "Lind", "Sato", "Roth"]


@dataclass
class Order:
    """A request to /checkout, with what is personal in it."""

    at: float
    intent: str
    body: dict
    token: str
    voucher: str
    personal: list[str] = field(default_factory=list)


def orders(seed: int, seconds: float, rate: float) -> list[Order]:
    """The orders of a story of so many seconds, `rate` a second."""
    dice = random.Random(seed)
    planned = []
    at = 0.0
    while at < seconds:
        incident = INCIDENT[0] <= at / seconds < INCIDENT[1]
        planned.append(order(dice, len(planned), at, intent_of(dice, incident)))
        at += dice.uniform(0.6, 1.4) / rate
    return planned


def intent_of(dice: random.Random, incident: bool) -> str:
    throw = dice.randrange(1000)
    for intent, weights in WEIGHTS.items():
        throw -= weights[incident]
        if throw < 0:
            return intent
    return "ordinary"


def order(dice: random.Random, number: int, at: float, intent: str) -> Order:
    first, last = dice.choice(FIRST_NAMES), dice.choice(LAST_NAMES)
    name = f"{first} {last}"
    email = f"{name.lower().replace(' ', '.')}.{number}@example.org"
    customer = f"cust-{dice.randrange(100000, 999999)}"
    # The range that test cards are from.
    card = luhn("400000" + digits(dice, 9))
    token = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI{number:05d}In0.{digits(dice, 24)}"
    fraction = digits(dice, dice.randint(19, 22) if intent == "many_digits" else 2)
    warehouse = {"timeout": "W9", "lock": "W7"}.get(intent, f"W{dice.randint(1, 5)}")
    body = {
        "amount": f"{dice.randint(1, 900)}.{fraction}",
        "currency": "EUR",
        "installments": 0 if intent == "panic" else dice.randint(1, 3),
        "sku": f"{warehouse}-{dice.randint(100, 999)}",
        "customer_id": customer,
        "email": email,
        "card": card,
        "name": name,
        "address": f"Street {dice.randint(1, 99)}, 10117 Town",
    }
    if intent == "missing_field":
        del body["currency"]
    if intent == "job_fails":
        del body["address"]
    personal = [email, customer, card, token, name]
    if "address" in body:
        personal.append(body["address"])
    return Order(at, intent, body, token, email, personal)


def digits(dice: random.Random, count: int) -> str:
    # The last is not 0: it would be as if it were not there.
    return "".join(str(dice.randint(0, 9)) for _ in range(count - 1)) + str(dice.randint(1, 9))


def luhn(digits_before: str) -> str:
    """The number with the check digit that makes it a card's."""
    total = 0
    for place, digit in enumerate(reversed(digits_before)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return digits_before + str(-total % 10)


def expected(intent: str, version: str | None, mode: str | None) -> tuple[int, str | None]:
    """What an order has to end with: the HTTP status, and the fault if it is one."""
    if intent == "many_digits" and mode == "strict":
        return {"1.8.2": (200, None), "1.9.0": (502, "decimal_overflow"), "1.9.1": (422, None)}[version]
    return {
        "missing_field": (500, "missing_field"),
        "panic": (502, "panic"),
        "timeout": (504, "timeout"),
        "lock": (503, "lock"),
    }.get(intent, (200, None))
