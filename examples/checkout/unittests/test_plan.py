"""What the load generator plans."""

import unittest

from story import plan


class Plan(unittest.TestCase):
    def test_the_seed_decides(self):
        """The same seed plans the same orders, another one others: a recording can be made again."""
        self.assertEqual(plan.orders(7, 60, 4), plan.orders(7, 60, 4))
        self.assertNotEqual(plan.orders(7, 60, 4), plan.orders(8, 60, 4))

    def test_orders_are_what_they_intend(self):
        """Each order has what its fault needs, and nothing personal that is not listed as planted."""
        for order in plan.orders(7, 300, 4):
            digits = len(order.body["amount"].partition(".")[2])
            self.assertEqual(digits > 18, order.intent == "many_digits")
            self.assertEqual("currency" in order.body, order.intent != "missing_field")
            self.assertEqual("address" in order.body, order.intent != "job_fails")
            self.assertEqual(order.body["installments"] == 0, order.intent == "panic")
            for name in ("email", "customer_id", "card", "name", "address"):
                self.assertIn(order.body.get(name, order.voucher), order.personal)

    def test_cards_have_a_valid_check_digit(self):
        """A recogniser that checks it (Luhn) has to find them."""
        self.assertEqual(plan.luhn("411111111111111"), "4111111111111111")

    def test_both_the_release_and_the_mode_are_needed(self):
        """Neither 1.9.0 alone nor strict alone fails an order with many digits; the fix answers 422."""
        self.assertEqual(plan.expected("many_digits", "1.9.0", "strict"), (502, "decimal_overflow"))
        self.assertEqual(plan.expected("many_digits", "1.8.2", "strict"), (200, None))
        self.assertEqual(plan.expected("many_digits", "1.9.0", "lenient"), (200, None))
        self.assertEqual(plan.expected("many_digits", "1.9.1", "strict"), (422, None))


if __name__ == "__main__":
    unittest.main()
