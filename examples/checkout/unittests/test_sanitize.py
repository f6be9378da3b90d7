"""The sanitizer of the Python services."""

import json
import unittest

from shop import sanitize


class Sanitize(unittest.TestCase):
    def test_payloads_keep_their_shape(self):
        """Personal fields are masked however deep they lie; amounts with many digits stay as they were sent."""
        order = {
            "amount": "12.345678901234567890",
            "buyer": [{"email": "jane.doe@example.org", "card": "4111111111111111"}],
        }
        cleaned = sanitize.clean_attributes({"http.request.body.content": json.dumps(order)})
        wanted = {"amount": "12.345678901234567890", "buyer": [{"email": "<email>", "card": "<card>"}]}
        self.assertEqual(json.loads(cleaned["http.request.body.content"]), wanted)

    def test_a_payload_that_is_no_json_does_not_leave(self):
        """Nothing is known of its fields, so nothing of it is handed on."""
        self.assertEqual(
            sanitize.clean_attributes({"http.response.body.content": "card=4111"}),
            {"http.response.body.content": "<not json>"},
        )

    def test_attributes_are_removed_by_name_and_masked_by_looks(self):
        """Credentials go with their attribute; a card or a token in another text, or in a list, is masked."""
        attributes = {
            "http.request.header.authorization": ["Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2ln"],
            "user.email": "jane.doe@example.org",
            "note": "card 4111 1111 1111 1111",
            "list": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2ln", 7],
            "count": 3,
        }
        self.assertEqual(
            sanitize.clean_attributes(attributes), {"note": "card <card>", "list": ["<token>", 7], "count": 3}
        )

    def test_stacks_do_not_name_the_machine(self):
        """Paths of the shop's own code begin at its folder, wherever that lies."""
        self.assertEqual(sanitize.clean_text(f'File "{sanitize.__file__}", line 1'), 'File "shop/sanitize.py", line 1')


if __name__ == "__main__":
    unittest.main()
