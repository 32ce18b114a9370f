"""The help texts of the interactive mode."""

ALL = '''\
Commands:
  /set            Change a setting of this session
  /show           Show an item of the model
  /list           List the models of the store
  /load <model>   Go on with another model, from the beginning
  /save <model>   Save your current session as a model
  /clear          Forget the conversation
  /bye            Leave
  /?, /help       Show this; also: /? set, /? show, /? shortcuts

Use """ to begin a message of several lines, and again to end it.
'''

SET = '''\
Settings:
  /set parameter <name> <value>   Set a parameter of generation
  /set system <text>              Set the system message; """ begins one of several lines
  /set history, nohistory         Remember the lines you enter, or not
  /set wordwrap, nowordwrap       Break lines between words, or not
  /set format json, noformat      Answer in JSON, or in text
  /set verbose, quiet             Show timings after each answer, or not
  /set think [level], nothink     Let the model think first, or not
'''

SHOW = """\
Items:
  /show info         What is known of the model
  /show license      Its license
  /show modelfile    Its Modelfile
  /show parameters   Its parameters, and those set here
  /show system       The system message
  /show template     Its prompt template
"""

SHORTCUTS = """\
Keys:
  Ctrl + a, e   To the beginning, the end of the line
  Alt + b, f    One word back, ahead
  Ctrl + k, u   Delete to the end, to the beginning of the line
  Ctrl + w      Delete the word before the cursor
  Ctrl + p, n   The line before, after in the history
  Ctrl + j      Begin a new line of the message
  Ctrl + g      Edit the message in an editor
  Ctrl + l      Clear the screen
  Ctrl + c      Stop the answer, or discard the message
  Ctrl + d      Leave (/bye)
"""

TOPICS = {"set": SET, "show": SHOW, "shortcut": SHORTCUTS, "shortcuts": SHORTCUTS}
