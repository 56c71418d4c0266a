"""Chat templates: what transformers renders from them, ours renders; and they reach nothing outside."""

from __future__ import annotations

from datetime import datetime

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from engine.errors import RequestError
from engine.models.chat_template import ChatTemplate
from engine.models.starters import STARTER_ID, prepare_starter

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
TEMPLATES = {
    "gemma": (
        "{{ bos_token }}{% for message in messages %}\n"
        "    {% if message['role'] == 'system' %}\n"
        "        {% set ns = namespace(first=message['content'] | trim) %}{{ ns.first }}\n"
        "        {% continue %}\n"
        "    {% endif %}\n"
        "<turn>{{ message.role }}\n{{ message['content'] | trim }}</turn>\n"
        "{% endfor %}\n"
        "{% if add_generation_prompt %}<turn>model\n{% endif %}"
    ),
    "json": "{{ messages | tojson }} {{ messages[0] | tojson(indent=2) }} {{ '<é>' | tojson(ensure_ascii=True) }}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %};{% endfor %}",
    "tools": "{% if tools is none and documents is none %}none{% endif %}{{ dict(a=1).a }}",
    "break": "{% for n in range(9) %}{% if n == 3 %}{% break %}{% endif %}{{ n }}{% endfor %}{{ eos_token }}",
}


@pytest.mark.parametrize("system", [None, "Be brief & <clear>."])
@pytest.mark.parametrize("name", [*TEMPLATES, "smollm"])
def test_a_template_renders_as_in_transformers(name: str, system: str | None) -> None:
    text = TEMPLATES.get(name) or (prepare_starter(STARTER_ID) / "chat_template.jinja").read_text()
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": ' What is "7 > é"?\n'})
    expected, _ = render_jinja_template([messages], chat_template=text, add_generation_prompt=True, **SPECIAL)
    assert ChatTemplate(text, SPECIAL).render(messages[-1]["content"], system) == expected[0]


def test_today_is_known() -> None:
    assert ChatTemplate("{{ strftime_now('%Y') }}", {}).render("x") == str(datetime.now().year)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ raise_exception('no system text here') }}", "no system text here"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ lipsum.__globals__['os'].popen('id').read() }}", "unsafe"),
        ("{{ dict.__base__.__subclasses__() }}", "unsafe"),
        ("{{ namespace(__class__=1) }}", "no place for '__class__'"),
        ("{% set ns = namespace() %}{% set ns.__class__ = 1 %}", "no place for '__class__'"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{{ 'x' * 99999999999999 }}", "refuses this prompt"),
        ("{% for n in range(99999999) %}{% endfor %}", "too big|refuses"),
        ("{{ unknown.name }}", "undefined"),
        ("{% if %}", "refuses this prompt"),
        ("x" * (1 << 20) + "x", "too long"),
    ],
)
def test_a_template_reaches_nothing_outside(text: str, words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        ChatTemplate(text, {}).render("x")
    assert "leave the system text out or turn chat off" in caught.value.sentence
