"""The load generator: sends the planned orders and writes the truth of each, as its answer tells it."""

import asyncio
import json
import pathlib
import time

import httpx

from story import plan


class Load:
    """Sends orders at their times."""

    def __init__(self, checkout: str, inventory: str, truth: pathlib.Path):
        self.checkout = checkout
        self.inventory = inventory
        self.truth = truth
        self.unexpected: list[dict] = []
        self.sent = 0
        # One stock-taking at a time: the next would wait for the lock, too.
        self.warehouse = asyncio.Lock()

    async def run(self, orders: list[plan.Order], began: float) -> None:
        """Returns when all are answered."""
        async with httpx.AsyncClient(timeout=30) as client:
            async with asyncio.TaskGroup() as tasks:
                for order in orders:
                    await asyncio.sleep(max(0.0, began + order.at - time.monotonic()))
                    tasks.create_task(self.send(client, order))

    async def send(self, client: httpx.AsyncClient, order: plan.Order) -> None:
        if order.intent != "lock":
            await self.post(client, order)
            return
        async with self.warehouse:
            (await client.post(f"{self.inventory}/stocktakings/W7")).raise_for_status()
            await self.post(client, order)
            (await client.delete(f"{self.inventory}/stocktakings/W7")).raise_for_status()

    async def post(self, client: httpx.AsyncClient, order: plan.Order) -> None:
        at = time.time_ns()
        answer = await client.post(
            f"{self.checkout}/checkout",
            params={"voucher_of": order.voucher},
            json=order.body,
            headers={"authorization": f"Bearer {order.token}"},
        )
        self.note(order, at, answer)

    def note(self, order: plan.Order, at: int, answer: httpx.Response) -> None:
        seen = answer.headers
        version, mode = seen.get("x-payments-version"), seen.get("x-decimal-mode")
        status, fault = plan.expected(order.intent, version, mode)
        flags, builds, instances = {}, {}, {}
        if mode:
            flags["payments.decimal_mode"] = mode
            builds["payments"] = version
            instances["payments"] = seen["x-payments-instance"]
        if "x-express-invoice" in seen:
            flags["checkout.express_invoice"] = seen["x-express-invoice"]
        line = {
            "kind": "request",
            "trace_id": seen["x-trace-id"],
            "at_ns": at,
            "intent": order.intent,
            "status": answer.status_code,
            "fault": fault,
            "flags": flags,
            "builds": builds,
            "instances": instances,
            # An order that broke the handler has no headers of its own, and its payload is kept.
            "payload": seen.get("x-payload-kept", "1") == "1",
            "amount": order.body["amount"],
            "fields": sorted(order.body),
            "job_id": int(seen["x-job-id"]) if "x-job-id" in seen else None,
            "personal": order.personal,
        }
        self.sent += 1
        if status != answer.status_code:
            self.unexpected.append(line | {"expected": status, "answer": answer.text})
        with self.truth.open("a") as file:
            file.write(json.dumps(line) + "\n")
