"""REINFORCE on a bandit of ten arms: a policy learns from rewards alone, by a stochastic gradient that goes uphill.

Williams (1992), Simple statistical gradient-following algorithms for connectionist reinforcement learning.
"""

import numpy as np

import fallline as fl

rng = np.random.default_rng(0)
worth = rng.normal(size=10)  # the mean reward of each arm, which the policy does not know
preference = np.zeros(10)
optimizer = fl.Adam(preference, lr=0.05, maximize=True)
baseline = 0.0
rewards = []

for step in range(1, 3001):
    policy = np.exp(preference - preference.max())
    policy /= policy.sum()
    arm = rng.choice(10, p=policy)
    reward = worth[arm] + rng.normal()
    # The gradient of log policy[arm] by the preferences is onehot(arm) - policy.
    optimizer.step((reward - baseline) * ((np.arange(10) == arm) - policy))
    baseline += (reward - baseline) / step
    rewards.append(reward)

best, preferred = worth.argmax(), policy.argmax()
print(f"the best arm is {best}, worth {worth[best]:.2f}; the policy prefers {preferred}, at {policy[preferred]:.0%}")
print(f"mean reward of the first 300 pulls {np.mean(rewards[:300]):.2f}, of the last {np.mean(rewards[-300:]):.2f}")
