# Instruction sets and the table of rules.

def instruction_sets():
    """Return the compiled-in instruction sets: name to whether this machine has it, best last."""
    found = {}
    cdef size_t i = 0
    while fl_isa_name(i) != NULL:
        found[fl_isa_name(i).decode()] = bool(fl_isa_supported(i))
        i += 1
    return found


def instruction_set():
    """Return the name of the instruction set in use."""
    return fl_isa_current().decode()


def _choose_instruction_set():
    forced = os.environ.get("FALLLINE_ISA")
    if not forced:
        fl_isa_select(NULL)
    elif fl_isa_select(forced.encode()) != 0:
        able = [name for name, supported in instruction_sets().items() if supported]
        raise ValueError(f"FALLLINE_ISA: must be an instruction set that is compiled in and that this machine has; got "
                         f"{forced!r}. Choose one of {', '.join(able)}, or unset it.")


cdef list _strings(const char *const *names, size_t n):
    return [names[i].decode() for i in range(n)]


def rules():
    """Return the table of rules: name to its hyperparameters, running numbers and states, in the order of csrc/rules.h."""
    cdef const fl_rule_info *info
    table = {}
    for i in range(fl_rule_count()):
        info = fl_rule(i)
        table[info.name.decode()] = {
            "hypers": _strings(info.hypers, info.n_hypers),
            "running": _strings(info.running, info.n_running),
            "states": _strings(info.states, info.n_states),
        }
    return table


cdef size_t _rule_index(str name) except? 999:
    for i in range(fl_rule_count()):
        if fl_rule(i).name.decode() == name:
            return i
    raise KeyError(name)


def start_values(str rule, hypers):
    """Return what a tensor begins with: its running numbers and one number for each state array."""
    cdef size_t index = _rule_index(rule)
    cdef const fl_rule_info *info = fl_rule(index)
    cdef double[FL_MAX_HYPERS] given
    cdef double[FL_MAX_RUNNING] running
    cdef double[FL_MAX_STATES] states
    for i in range(info.n_hypers):
        given[i] = hypers[i]
    fl_rule_start(index, given, running, states)
    return [running[i] for i in range(info.n_running)], [states[i] for i in range(info.n_states)]


cdef size_t _default_threads = 1


def set_default_threads(size_t n):
    """Set the threads of steps whose plan names no number of its own."""
    global _default_threads
    _default_threads = n


def default_threads():
    """Return what `set_default_threads` set."""
    return _default_threads


_choose_instruction_set()
