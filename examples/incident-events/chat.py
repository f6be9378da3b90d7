"""Tells a chat of incidents: an incoming webhook as Slack, Mattermost and others have it.

    HOOK_SECRET=whsec_... CHAT_URL=https://hooks.slack.com/services/... python3 chat.py [PORT]
"""

import os

import receiver


def message(event):
    """The message of an event."""
    text = "\n".join(receiver.lines(event))
    link = event["data"].get("link")
    # These three signs begin links and mentions; what services say must not.
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": f"{text}\n<{link}|incident>" if link else text}


if __name__ == "__main__":
    receiver.serve(lambda event: receiver.post(os.environ["CHAT_URL"], message(event)))
